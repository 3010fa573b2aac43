import { drawable } from "../lib/text";

/** A text that somebody wrote: isolated, so that its direction changes nothing beside it. */
export function Text({ children }: { children: string }) {
  return <bdi dir="auto">{drawable(children)}</bdi>;
}
