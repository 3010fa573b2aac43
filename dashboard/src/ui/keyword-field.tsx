import { useEffect, useId, useState } from "preact/hooks";
import { get } from "../api/client";
import { drawable } from "../lib/text";

/** Chooses a keyword; an empty field is all posts. It proposes the most frequent ones. */
export function KeywordField({ keyword, onChange }: { keyword: string; onChange: (keyword: string) => void }) {
  const id = useId();
  const [text, setText] = useState("");
  const [known, setKnown] = useState<string[]>([]);
  useEffect(() => setText(keyword === "*" ? "" : keyword), [keyword]);
  const load = () => {
    if (known.length) return;
    // Proposals are a help: the field works without them.
    get("/v1/keywords", { query: { limit: 100 } })
      .then(({ keywords }) => setKnown(keywords.map((one) => one.keyword).filter((one) => one !== "*")))
      .catch(() => undefined);
  };
  return (
    <form
      class="keyword-field"
      onSubmit={(event) => {
        event.preventDefault();
        onChange(text.trim() || "*");
      }}
    >
      <label class="visually-hidden" for={id}>
        Keyword
      </label>
      <input
        id={id}
        type="search"
        dir="auto"
        list={`${id}-known`}
        placeholder="All posts"
        maxLength={200}
        value={text}
        onFocus={load}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => onChange(event.currentTarget.value.trim() || "*")}
      />
      <datalist id={`${id}-known`}>
        {known.map((one) => (
          <option key={one} value={one}>
            {drawable(one)}
          </option>
        ))}
      </datalist>
    </form>
  );
}
