/** What the processes of one installation and their supervisor tell each other: the few messages, and parsing them. Pure. */

export type ChildMessage =
  /** It serves now. `details` is for whoever prints the greeting, for example the address. */
  | { readonly type: "ready"; readonly details: Readonly<Record<string, string>> }
  /** Everything shall stop for good. */
  | { readonly type: "down" }
  /** It was asked to end: another shall take its place first. It serves until it hears that it may end. */
  | { readonly type: "renew" };

/** To a child that wanted to be renewed, or shall be: end now, as the last of its role or with a successor that serves. */
export type SupervisorMessage = { readonly type: "end"; readonly hasSuccessor: boolean };

/** Null for anything that is not a message of this kind. */
export function parseSupervisorMessage(value: unknown): SupervisorMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value) || value.type !== "end") return null;
  return { type: "end", hasSuccessor: "hasSuccessor" in value && value.hasSuccessor === true };
}

/** Null for anything that is not a message of this list. */
export function parseChildMessage(value: unknown): ChildMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "down" || value.type === "renew") return { type: value.type };
  if (value.type !== "ready") return null;
  const details = "details" in value ? value.details : {};
  if (typeof details !== "object" || details === null) return null;
  const texts = Object.entries(details).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { type: "ready", details: Object.fromEntries(texts) };
}
