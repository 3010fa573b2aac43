import { useEffect, useId, useState } from "preact/hooks";
import { get } from "../api/client";
import { drawable } from "../lib/text";

interface Props {
  keyword: string;
  onChange: (keyword: string) => void;
  /** Whether the field adds keywords: it is emptied after each, and an empty one is none. */
  isAdding?: boolean;
  /** What an empty field is called. */
  none?: string;
}

/** Chooses a keyword; an empty field is all posts. It proposes the most frequent ones. */
export function KeywordField({ keyword, onChange, isAdding = false, none = "All posts" }: Props) {
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
  const choose = (value: string) => {
    if (!isAdding) onChange(value.trim() || "*");
    else if (value.trim()) {
      onChange(value.trim());
      setText("");
    }
  };
  return (
    <form
      class="keyword-field"
      onSubmit={(event) => {
        event.preventDefault();
        choose(text);
      }}
    >
      <label class="visually-hidden" for={id}>
        {isAdding ? "Add a keyword" : "Keyword"}
      </label>
      <input
        id={id}
        type="search"
        dir="auto"
        list={`${id}-known`}
        placeholder={isAdding ? "Add a keyword" : none}
        maxLength={200}
        value={text}
        onFocus={load}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => choose(event.currentTarget.value)}
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
