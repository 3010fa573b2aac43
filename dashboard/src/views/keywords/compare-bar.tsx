import { compareUrl } from "../../lib/urls";
import { Text } from "../../ui/text";

/** The keywords that are picked, and the way to their comparison. It stays in sight. */
export function CompareBar({
  picked,
  most,
  onClear,
}: {
  picked: readonly string[];
  most: number;
  onClear: () => void;
}) {
  if (!picked.length) return null;
  return (
    <section class="compare-bar" aria-label="Picked keywords">
      <p role="status">
        <strong>
          {picked.length} of {most}
        </strong>
        {picked.map((keyword) => (
          <span key={keyword} class="chip">
            <Text>{keyword}</Text>
          </span>
        ))}
      </p>
      <button type="button" onClick={onClear}>
        Clear
      </button>
      <a class="button primary" href={compareUrl(picked)}>
        Compare
      </a>
    </section>
  );
}
