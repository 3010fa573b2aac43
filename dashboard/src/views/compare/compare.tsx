/** Put up to six keywords side by side. */
export default function Compare() {
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Compare</h1>
      </div>
      <p class="headline">Put up to six keywords side by side.</p>
    </>
  );
}
