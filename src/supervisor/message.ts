/** What the processes of one installation and their supervisor tell each other: the few messages, and parsing them. Pure. */

/** Processes that share their work, each with its seat: in the order in which they joined, so that a later one of the same seat is the successor. */
export type View = {
  /** Counts up by one. */
  readonly version: number;
  readonly processes: readonly SharingProcess[];
};

export type SharingProcess = {
  readonly id: string;
  readonly seat: number;
  /** Unix socket at which it hears the others. */
  readonly path: string;
};

export type ChildMessage =
  /** It serves now. `details` is for whoever prints the greeting, for example the address. */
  | { readonly type: "ready"; readonly details: Readonly<Record<string, string>> }
  /** Everything shall stop for good. */
  | { readonly type: "down" }
  /** It would be one of the processes that share their work, and hears the others at this Unix socket. */
  | { readonly type: "join"; readonly path: string }
  /** It has entered this view, and the others have been told. */
  | { readonly type: "entered"; readonly version: number }
  /** Of a shared port: it has as many connections as it may, and rests, or room for more again. */
  | { readonly type: "room"; readonly hasRoom: boolean }
  /** It runs: the answer to `ask`. */
  | { readonly type: "alive" }
  /** It was asked to end: another shall take its place first. It serves until it hears that it may end. */
  | { readonly type: "renew" };

export type SupervisorMessage =
  /** To a child that wanted to be renewed, or shall be: end now, as the last of its role or with a successor that serves. */
  | { readonly type: "end"; readonly hasSuccessor: boolean }
  /** Who shares the work; one that has not joined yet hears of it too. */
  | { readonly type: "view"; readonly view: View }
  /** Of a shared port: leave it to the others that have room. */
  | { readonly type: "rest" }
  /** Of a shared port, which comes with this: take connections again. */
  | { readonly type: "listen" }
  /** Is it running? To be answered with `alive`. */
  | { readonly type: "ask" }
  /** What had to be started again lately, the newest last. */
  | { readonly type: "restarts"; readonly restarts: readonly Restart[] };

/** A process that ended unasked, and was started again. */
export type Restart = { readonly role: string; readonly atMs: number; readonly reason: string };

/** Null for anything that is not a message of this kind. */
export function parseSupervisorMessage(value: unknown): SupervisorMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "view") {
    const view = "view" in value ? parseView(value.view) : null;
    return view === null ? null : { type: "view", view };
  }
  if (value.type === "ask" || value.type === "rest" || value.type === "listen") return { type: value.type };
  if (value.type === "restarts") {
    const restarts = "restarts" in value ? parseAll(value.restarts, parseRestart) : null;
    return restarts === null ? null : { type: "restarts", restarts };
  }
  if (value.type !== "end") return null;
  return { type: "end", hasSuccessor: "hasSuccessor" in value && value.hasSuccessor === true };
}

/** Null for anything that is not a message of this list. */
export function parseChildMessage(value: unknown): ChildMessage | null {
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "down" || value.type === "renew" || value.type === "alive") return { type: value.type };
  if (value.type === "join") {
    return "path" in value && typeof value.path === "string" ? { type: "join", path: value.path } : null;
  }
  if (value.type === "entered") {
    const { version = null } = value as { readonly version?: unknown };
    return typeof version === "number" ? { type: "entered", version } : null;
  }
  if (value.type === "room") return { type: "room", hasRoom: "hasRoom" in value && value.hasRoom === true };
  if (value.type !== "ready") return null;
  const details = "details" in value ? value.details : {};
  if (typeof details !== "object" || details === null) return null;
  const texts = Object.entries(details).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { type: "ready", details: Object.fromEntries(texts) };
}

function parseView(value: unknown): View | null {
  if (typeof value !== "object" || value === null) return null;
  const { version, processes } = value as Readonly<Record<string, unknown>>;
  const parsed = parseAll(processes, parseProcess);
  return typeof version === "number" && parsed !== null ? { version, processes: parsed } : null;
}

/** Null when it is no list, or one of it cannot be parsed. */
function parseAll<T>(values: unknown, parse: (value: unknown) => T | null): T[] | null {
  if (!Array.isArray(values)) return null;
  const parsed = values.map(parse).filter((one) => one !== null);
  return parsed.length === values.length ? parsed : null;
}

function parseRestart(value: unknown): Restart | null {
  if (typeof value !== "object" || value === null) return null;
  const { role, atMs, reason } = value as Readonly<Record<string, unknown>>;
  if (typeof role !== "string" || typeof atMs !== "number" || typeof reason !== "string") return null;
  return { role, atMs, reason };
}

function parseProcess(value: unknown): SharingProcess | null {
  if (typeof value !== "object" || value === null) return null;
  const { id, seat, path } = value as Readonly<Record<string, unknown>>;
  if (typeof id !== "string" || typeof seat !== "number" || typeof path !== "string") return null;
  return { id, seat, path };
}
