import { useLayoutEffect, useState } from "preact/hooks";

interface Props {
  label: string;
  placeholder: string;
  /** The text as the address has it, without spaces at its ends. */
  value: string;
  onChange: (text: string) => void;
}

/** A field for a text that the address has. It keeps spaces while the reader types, which the address leaves out. */
export function SearchInput({ label, placeholder, value, onChange }: Props) {
  const [text, setText] = useState(value);
  // At once: an effect after the next frame would bring back what stood there some letters before.
  useLayoutEffect(() => setText((current) => (current.trim() === value ? current : value)), [value]);
  return (
    <input
      type="search"
      dir="auto"
      aria-label={label}
      placeholder={placeholder}
      maxLength={200}
      value={text}
      onInput={(event) => {
        setText(event.currentTarget.value);
        onChange(event.currentTarget.value.trim());
      }}
    />
  );
}
