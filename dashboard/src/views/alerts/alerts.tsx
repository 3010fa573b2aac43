/** Open incidents with their reasons, their history, and the rules. */
export default function Alerts() {
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Alerts</h1>
      </div>
      <p class="headline">Open incidents with their reasons, their history, and the rules.</p>
    </>
  );
}
