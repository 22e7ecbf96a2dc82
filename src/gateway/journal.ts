/**
 * What has been sent of a stream that may have to be continued: its text, read from the events that went through. Pure.
 * Bounded: a longer answer, or one that is not plain text, is simply not continued. Events are kept as they came and read
 * in bulk now and then, so that a stream pays little for what it will hardly ever need.
 */

/** Unread events are read when they are larger than this, in bytes. */
const maxUnreadBytes = 16_384;
/** Longest text that is kept, in characters. */
const maxTextLength = 262_144;

/** What every event of one answer says. */
export type AnswerIdentity = Readonly<Record<"id" | "created" | "model", unknown>>;

export class Journal {
  /** Null when nothing has come yet. */
  identity: AnswerIdentity | null = null;
  text = "";
  /** A finish reason was sent. */
  isFinished = false;
  isDone = false;
  /** Something came that is no plain text, or too much. */
  isLost = false;
  #unread: Buffer[] = [];
  #unreadBytes = 0;

  /** @param events whole ones */
  add(events: Buffer): void {
    if (this.isLost) return;
    this.#unread.push(events);
    this.#unreadBytes += events.length;
    if (this.#unreadBytes > maxUnreadBytes) this.read();
  }

  /** Brings the fields above up to date. */
  read(): void {
    const events = Buffer.concat(this.#unread).toString("utf8");
    this.#unread = [];
    this.#unreadBytes = 0;
    for (const data of dataOf(events)) {
      if (this.isLost) return;
      if (data === "[DONE]") this.isDone = true;
      else this.#take(parsed(data));
    }
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
    this.text += text;
    if (choice.finish_reason !== null && choice.finish_reason !== undefined) this.isFinished = true;
    if (this.text.length > maxTextLength) this.#lose();
  }

  #lose(): void {
    this.isLost = true;
    this.text = "";
    this.#unread = [];
  }
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
