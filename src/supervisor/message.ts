/** What the processes of one installation tell their supervisor: the few messages, and parsing them. Pure. */

export type ChildMessage =
  /** It serves now. `details` is for whoever prints the greeting, for example the address. */
  | { readonly type: "ready"; readonly details: Readonly<Record<string, string>> }
  /** Everything shall stop for good. */
  | { readonly type: "down" };

/** Null for anything that is not a message of this list. */
export function parseChildMessage(value: unknown): ChildMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "down") return { type: "down" };
  if (value.type !== "ready") return null;
  const details = "details" in value ? value.details : {};
  if (typeof details !== "object" || details === null) return null;
  const texts = Object.entries(details).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { type: "ready", details: Object.fromEntries(texts) };
}
