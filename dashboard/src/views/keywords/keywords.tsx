/** Search keywords, and see which are frequent and which rise. */
export default function Keywords() {
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Keywords</h1>
      </div>
      <p class="headline">Search keywords, and see which are frequent and which rise.</p>
    </>
  );
}
