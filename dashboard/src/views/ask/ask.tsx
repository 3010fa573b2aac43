/** Ask about a keyword that nobody follows yet. */
export default function Ask() {
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Ask</h1>
      </div>
      <p class="headline">Ask about a keyword that nobody follows yet.</p>
    </>
  );
}
