/** What the processes of one installation tell their supervisor: the few messages, and parsing them. Pure. */

export type ChildMessage =
  /** It serves now. `details` is for whoever prints the greeting, for example the address. */
  | { readonly type: "ready"; readonly details: Readonly<Record<string, string>> }
  /** It waits at this Unix socket for what a process before it, of the same role, has to hand over. */
  | { readonly type: "takeover"; readonly path: string }
  /** Everything shall stop for good. */
  | { readonly type: "down" };

/** What the supervisor tells a process. */
export type SupervisorMessage =
  /** There is nobody before it: nothing will be handed over. */
  | { readonly type: "alone" }
  /** A successor waits at this Unix socket. */
  | { readonly type: "hand over"; readonly path: string };

/** Null for anything that is not a message of this list. */
export function parseSupervisorMessage(value: unknown): SupervisorMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "alone") return { type: "alone" };
  const isHandover = value.type === "hand over" && "path" in value && typeof value.path === "string";
  return isHandover ? { type: "hand over", path: String(value.path) } : null;
}

/** Null for anything that is not a message of this list. */
export function parseChildMessage(value: unknown): ChildMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "down") return { type: "down" };
  if (value.type === "takeover") {
    return "path" in value && typeof value.path === "string" ? { type: "takeover", path: value.path } : null;
  }
  if (value.type !== "ready") return null;
  const details = "details" in value ? value.details : {};
  if (typeof details !== "object" || details === null) return null;
  const texts = Object.entries(details).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { type: "ready", details: Object.fromEntries(texts) };
}
