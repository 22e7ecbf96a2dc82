/**
 * What has been sent of a stream that may have to be continued: its text, read from the events that went through. Pure.
 * Bounded: a longer answer, or one that is not plain text, is simply not continued. An event that differs from one that was
 * parsed in its text alone, as nearly all of a stream do, is not parsed again, so that a stream pays little for what it
 * will hardly ever need.
 */

/** Longest text that is kept, in characters. */
const maxTextLength = 262_144;

/** What every event of one answer says. */
export type AnswerIdentity = Readonly<Record<"id" | "created" | "model", unknown>>;

/** What stands around the text of an event, one character a byte. */
type Form = { readonly before: string; readonly after: string };

export class Journal {
  /** Null when nothing has come yet. */
  identity: AnswerIdentity | null = null;
  text = "";
  /** A finish reason was sent. */
  isFinished = false;
  isDone = false;
  /** Something came that is no plain text, or too much. */
  isLost = false;
  /** Of an event that was parsed. */
  #form: Form | null = null;

  /** @param events whole ones */
  add(events: Buffer): void {
    if (this.isLost) return;
    const text = this.#form === null ? null : textWithin(events, this.#form);
    if (text === null) this.#parse(events);
    else this.#append(text);
  }

  #parse(events: Buffer): void {
    const all = dataOf(events.toString("utf8"));
    const length = this.text.length;
    for (const data of all) {
      if (this.isLost) return;
      if (data === "[DONE]") this.isDone = true;
      else this.#take(parsed(data));
    }
    const isForm = all.length === 1 && !this.isFinished && !this.isDone;
    this.#form = isForm ? formOf(events, this.text.slice(length)) : null;
  }

  #take(event: StreamEvent | null): void {
    if (event === null) {
      this.#lose();
      return;
    }
    this.identity ??= { id: event.id, created: event.created, model: event.model };
    const [choice, ...others] = event.choices;
    if (choice === undefined) return;
    const text = textOf(choice);
    if (others.length > 0 || text === null) {
      this.#lose();
      return;
    }
    if (choice.finish_reason !== null && choice.finish_reason !== undefined) this.isFinished = true;
    this.#append(text);
  }

  #append(text: string): void {
    this.text += text;
    if (this.text.length > maxTextLength) this.#lose();
  }

  #lose(): void {
    this.isLost = true;
    this.text = "";
    this.#form = null;
  }
}

/** The key of a text, if there is but one: within a string its quotes would be escaped, so that these bytes are a key. */
const textKey = /"(?:content|text)": ?(?=")/g;
const string = /"(?:[^"\\]|\\.)*"/y;
/** Characters that stand for others, or cannot stand, in a text of JSON. */
const special = /["\\]|[^\x20-\xff]/;
const beyondAscii = /[\x80-\xff]/;

/**
 * Null where the text cannot be told apart from what stands around it.
 * @param event one that does not end the answer
 * @param text what it was read to say
 */
function formOf(event: Buffer, text: string): Form | null {
  const bytes = event.toString("latin1");
  const [key, ...others] = bytes.matchAll(textKey);
  if (key === undefined || others.length > 0) return null;
  string.lastIndex = key.index + key[0].length;
  const found = string.exec(bytes);
  // An empty one may be of another key that means nothing.
  if (found === null || text === "" || JSON.parse(Buffer.from(found[0], "latin1").toString()) !== text)
    return null;
  return { before: bytes.slice(0, key.index + key[0].length + 1), after: bytes.slice(string.lastIndex - 1) };
}

/** The text of an event of this form; null where it is of another, or its text has to be parsed. */
function textWithin(event: Buffer, { before, after }: Form): string | null {
  const bytes = event.toString("latin1");
  const end = bytes.length - after.length;
  if (end < before.length || !bytes.startsWith(before) || !bytes.endsWith(after)) return null;
  const text = bytes.slice(before.length, end);
  if (special.test(text)) return null;
  return beyondAscii.test(text) ? event.toString("utf8", before.length, end) : text;
}

export type StreamChoice = {
  readonly delta?: Readonly<Record<string, unknown>>;
  readonly text?: unknown;
  readonly finish_reason?: unknown;
};

export type StreamEvent = Readonly<Record<string, unknown>> & { readonly choices: readonly StreamChoice[] };

/** The data of each event, comments and other fields left out. */
export function dataOf(events: string): string[] {
  return events.split("\n").flatMap((line) => {
    if (!line.startsWith("data:")) return [];
    return [line.slice(line[5] === " " ? 6 : 5).trimEnd()];
  });
}

/** Null when the data is no event of an answer: an error, or nothing that is known here. */
export function parsed(data: string): StreamEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null; // no event of an answer
  }
  if (typeof value !== "object" || value === null || !("choices" in value)) return null;
  const { choices } = value;
  const isList = Array.isArray(choices) && choices.every((one) => typeof one === "object" && one !== null);
  return isList ? (value as StreamEvent) : null;
}

/** The text of a choice; null when it is anything but text. */
function textOf({ delta, text, ...rest }: StreamChoice & { readonly logprobs?: unknown }): string | null {
  if ((rest.logprobs ?? null) !== null) return null;
  if (delta === undefined) return typeof text === "string" ? text : null;
  for (const [key, value] of Object.entries(delta)) {
    if (key !== "role" && key !== "content" && value !== null && !isEmpty(value)) return null;
  }
  const content = delta.content ?? "";
  return typeof content === "string" ? content : null;
}

function isEmpty(value: unknown): boolean {
  return value === "" || (Array.isArray(value) && value.length === 0);
}
