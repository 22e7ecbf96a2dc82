/**
 * The events of an OpenAI stream on their way from the engine to the client. All but a few go through as they came, whole
 * and without being parsed: only those that carry a finish reason or usage are found, by a search in their bytes, and
 * brought into DeepInfra's form, in which the usage sits in the event that finishes. Pure; holds back at most one event.
 */
import type { TokenUsage } from "../../core/usage.ts";
import { type ScannedObject, scanObject, textOf } from "../json-scan.ts";
import { describeUsage, readUsage, type UsageTerms, withUsage } from "./openai-usage.ts";

const lf = 0x0a;
const cr = 0x0d;
const usageSign = Buffer.from('"usage"');
// Within a string the quotes would be escaped: these bytes are a key wherever they stand.
const finishKey = Buffer.from('"finish_reason":');
const quote = 0x22;
const space = 0x20;

export class OpenAiEvents {
  usage: TokenUsage | null = null;
  readonly #terms: UsageTerms;
  /** An event with a finish reason that waits for its usage, which may come in an event of its own. */
  #finish: { readonly event: Buffer; readonly parts: EventParts } | null = null;

  constructor(terms: UsageTerms) {
    this.#terms = terms;
  }

  /**
   * Takes whole events and answers what goes on, which may be nothing.
   * @param events ends with the empty line of an event
   */
  push(events: Buffer): Buffer {
    if (this.#finish === null && !hasSign(events)) return events;
    const out: Buffer[] = [];
    for (let at = 0; at < events.length; ) {
      const end = firstEventEnd(events, at);
      this.#take(events.subarray(at, end), out);
      at = end;
    }
    return out.length === 1 && out[0] !== undefined ? out[0] : Buffer.concat(out);
  }

  /** What was held back, when no more comes. */
  flush(): Buffer {
    const event = this.#finish?.event ?? Buffer.alloc(0);
    this.#finish = null;
    return event;
  }

  #take(event: Buffer, out: Buffer[]): void {
    const parts = hasSign(event) ? partsOf(event) : null;
    if (parts === null) {
      out.push(this.flush(), event);
      return;
    }
    const { object } = parts;
    const usage = readUsage(object);
    if (usage === null) {
      out.push(this.flush());
      if (hasFinish(event)) this.#finish = { event, parts };
      else out.push(event);
      return;
    }
    this.usage = usage.tokens;
    const json = this.#terms.isUsageShown ? describeUsage(usage, this.#terms.prices) : null;
    const isAlone = isEmptyList(object, "choices");
    if (isAlone && this.#finish !== null) {
      const { parts: finish } = this.#finish;
      this.#finish = null;
      out.push(joined(finish, withUsage(finish.object, json, this.#terms)));
      return;
    }
    out.push(this.flush());
    if (!isAlone || json !== null) out.push(joined(parts, withUsage(object, json, this.#terms)));
  }
}

function hasSign(bytes: Buffer): boolean {
  return hasFinish(bytes) || bytes.includes(usageSign);
}

/** A finish reason that is a text: in all but the last event it is null, or left out. */
function hasFinish(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(finishKey); at !== -1; at = bytes.indexOf(finishKey, at + 1)) {
    const value = at + finishKey.length;
    if (bytes[bytes[value] === space ? value + 1 : value] === quote) return true;
  }
  return false;
}

/** An event with one line of data: what is before the data, the data, what is behind it. */
type EventParts = { readonly before: Buffer; readonly object: ScannedObject; readonly behind: Buffer };

function partsOf(event: Buffer): EventParts | null {
  const text = event.toString("latin1");
  const match = /^((?:[^\n]*\n)*?data:[ ]?)([^\r\n]*)(\r?\n\r?\n)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return null;
  const start = match[1].length;
  const end = start + match[2].length;
  const object = scanObject(event.subarray(start, end));
  return object === null ? null : { before: event.subarray(0, start), object, behind: event.subarray(end) };
}

function joined({ before, behind }: EventParts, data: Buffer): Buffer {
  return Buffer.concat([before, data, behind]);
}

function isEmptyList(object: ScannedObject, name: string): boolean {
  const slice = object.entries.get(name);
  return slice !== undefined && /^\[\s*\]$/.test(textOf(object, slice));
}

/** Where the event that begins at `from` ends, its empty line included; the end of the bytes when it has none. */
export function firstEventEnd(bytes: Buffer, from: number): number {
  for (let i = bytes.indexOf(lf, from); i !== -1; i = bytes.indexOf(lf, i + 1)) {
    if (bytes[i + 1] === lf) return i + 2;
    if (bytes[i + 1] === cr && bytes[i + 2] === lf) return i + 3;
  }
  return bytes.length;
}

/**
 * Where the last whole event of `piece` ends (an empty line ends it), or 0.
 * @param before the bytes before `piece` that belong to the same event; only the last two count
 */
export function lastEventEnd(before: Buffer, piece: Buffer): number {
  // Nearly always the piece ends with an event.
  const { length } = piece;
  if (length > 1 && piece[length - 1] === lf && piece[length - 2] === lf) return length;
  const at = (i: number) => (i >= 0 ? piece[i] : before[before.length + i]);
  for (let i = piece.lastIndexOf(lf); i >= 0; i = i === 0 ? -1 : piece.lastIndexOf(lf, i - 1)) {
    if (at(i - 1) === lf || (at(i - 1) === cr && at(i - 2) === lf)) return i + 1;
  }
  return 0;
}
