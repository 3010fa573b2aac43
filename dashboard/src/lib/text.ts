const JOINERS = "\u200c\u200d\ufe0e\ufe0f";
const MAX_CHARS = 1000;
const PLAIN = /^[\x20-\x7e]*$/;
const STACKS = /([\u0300-\u036f]{3})[\u0300-\u036f]+/g;

/**
 * Returns a text of one line that can be drawn: the rule of `drawable` in the Python charts.
 *
 * Line breaks become spaces, control characters become U+FFFD, and marks of direction are left out, because they would
 * change the text beside them. For display only.
 */
export function drawable(text: string): string {
  // Most texts are plain, and a busy feed has hundreds of them a second.
  if (text.length <= MAX_CHARS && PLAIN.test(text)) return text.trim();
  const characters = [...text].slice(0, MAX_CHARS).map((character) => {
    if (/[\n\r\t]|\p{Z}/u.test(character)) return " ";
    if (/\p{Cc}|\p{Cn}|\p{Cs}/u.test(character)) return "\ufffd";
    return /\p{Cf}/u.test(character) && !JOINERS.includes(character) ? "" : character;
  });
  return characters.join("").replace(STACKS, "$1").trim();
}

/** Returns a text for a canvas, isolated from the direction of the texts around it. */
export function isolated(text: string): string {
  return `\u2068${drawable(text)}\u2069`;
}

/** Returns what a keyword is called: `*` stands for all posts. */
export function keywordName(keyword: string): string {
  return keyword === "*" ? "All posts" : keyword;
}
