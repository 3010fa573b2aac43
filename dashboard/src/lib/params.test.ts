import { expect, it } from "vitest";
import { moment, oneOf, readParams, text, texts, writeParams } from "./params";
import { SPANS } from "./spans";

const PARAMS = { keyword: text("*"), also: texts(3), span: oneOf(SPANS, "1h"), until: moment };

it("reads defaults from an empty address, and from values that are none", () => {
  const defaults = { keyword: "*", also: [], span: "1h", until: null };
  expect(readParams(PARAMS, "")).toEqual(defaults);
  expect(readParams(PARAMS, "?keyword=%20&span=2y&until=yesterday")).toEqual(defaults);
});

it("reads what it writes", () => {
  const values = {
    keyword: "قهوة & tea",
    also: ["a", "b=c"],
    span: "7d",
    until: Date.parse("2026-05-03T10:00:00Z"),
  } as const;
  const search = writeParams(PARAMS, "?other=1&span=6h", { ...values, also: [...values.also] });
  expect(readParams(PARAMS, search)).toEqual(values);
  expect(new URLSearchParams(search).get("other")).toBe("1");
});

it("leaves defaults out of the address", () => {
  expect(writeParams(PARAMS, "?span=6h&keyword=tea", { span: "1h", keyword: "*" })).toBe("");
});

it("takes no more texts than the view has room for, each once", () => {
  expect(readParams(PARAMS, "?also=a&also=a&also=b&also=c&also=d").also).toEqual(["a", "b", "c"]);
});
