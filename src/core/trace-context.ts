/**
 * W3C trace context (https://www.w3.org/TR/trace-context/) as a client may send it: which of it goes on to the engine.
 * Pure. A context that is not valid counts as none; none is made up.
 */

export type TraceContext = {
  readonly traceparent: string;
  /** Empty when there is none, or none that is valid. */
  readonly tracestate: string;
};

const parentPattern =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?$/;
const keyPattern = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/;
/** Printable ASCII without comma and equals sign, not ending in a space. */
const valuePattern = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
const maxMembers = 32;
const maxStateLength = 4096;
const maxParentLength = 256;

/** @param parent,state as the headers say; several headers of one name are joined by commas */
export function readTraceContext(parent: string | undefined, state: string | undefined): TraceContext | null {
  const trimmed = parent?.trim() ?? "";
  if (trimmed.length > maxParentLength) return null;
  const match = parentPattern.exec(trimmed);
  if (match === null) return null;
  const [, version, more] = match;
  // Version 00 has four parts; later ones may have more.
  if (version === "00" && more !== undefined) return null;
  return { traceparent: trimmed, tracestate: readState(state ?? "") };
}

function readState(state: string): string {
  if (state.length > maxStateLength) return "";
  const members = state
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
  const keys = members.map((member) => member.slice(0, Math.max(0, member.indexOf("="))));
  const areValid = members.every(
    (member, at) =>
      keyPattern.test(keys[at] ?? "") && valuePattern.test(member.slice((keys[at] ?? "").length + 1)),
  );
  const isValid = areValid && members.length <= maxMembers && new Set(keys).size === keys.length;
  return isValid ? members.join(",") : "";
}
