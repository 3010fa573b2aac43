import { expect, it } from "vitest";
import { toCsv } from "./csv";

it("quotes commas, quotes and line breaks, and leaves unknown values empty", () => {
  const rows = [
    ["a,b", 1.5, null],
    ['say "hi"', -2, "two\nlines"],
  ];
  expect(toCsv({ columns: ["name", "value", "note"], rows })).toBe(
    'name,value,note\r\n"a,b",1.5,\r\n"say ""hi""",-2,"two\nlines"\r\n',
  );
});

it.each(["=1+1", "+1", "-1", "@sum", "\t=1"])("takes the meaning of a formula from %j", (text) => {
  expect(toCsv({ columns: ["x"], rows: [[text]] })).toContain(`'${text}`);
});

it("takes the meaning of a formula from a text that also needs quotes", () => {
  expect(toCsv({ columns: ["x"], rows: [['=HYPERLINK("a","b")']] })).toBe('x\r\n"\'=HYPERLINK(""a"",""b"")"\r\n');
});
