/**
 * Reads streams of every face the way their clients do, down to how they end. Owns what an answer is made of in each
 * face's words; must not judge it: that is the tests'.
 */
import { token } from "./berth.ts";

export type StreamFace = "chat" | "completions" | "messages" | "responses" | "native";

export type Streamed = {
  readonly requestId: string;
  readonly status: number;
  /** Of several choices the texts one after the other. */
  readonly text: string;
  readonly finish: string | null;
  readonly usage: { readonly input: number; readonly output: number } | null;
  /** How the face names the error that ended it; "cut" when it ended without a word. */
  readonly error: string | null;
  /** Whatever a stream says once: its openings, its ids, its ends. */
  readonly openings: number;
  readonly ids: number;
  readonly ends: number;
};

export type RunningStream = {
  /** Resolves with the first text, or the end. */
  readonly begun: Promise<void>;
  readonly ended: Promise<Streamed>;
};

/** What one event adds. */
type Step = {
  readonly text?: string;
  readonly choice?: number;
  readonly finish?: string | null;
  readonly usage?: Streamed["usage"];
  readonly error?: string;
  readonly id?: string;
  readonly opens?: boolean;
  readonly ends?: boolean;
};

/** Every field is there only in the events that have it. */
type Event = {
  readonly id: string;
  readonly type: string;
  readonly code: string;
  readonly error: { readonly code: string; readonly type: string };
  readonly choices: readonly {
    readonly index: number;
    readonly text?: string;
    readonly delta?: { readonly role?: string; readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage: Readonly<Record<string, number>>;
  readonly message: { readonly id: string };
  readonly delta: { readonly text: string; readonly stop_reason: string } & string;
  readonly response: {
    readonly id: string;
    readonly status: string;
    readonly usage: Readonly<Record<string, number>>;
  };
  readonly token: { readonly text: string };
  readonly details: { readonly finish_reason: string } | null;
  readonly num_input_tokens: number;
  readonly num_output_tokens: number;
  readonly error_type: string;
};

const nothing: Step = {};

function readOpenAi(event: Partial<Event>): Step {
  if (event.error !== undefined) return { error: event.error.code };
  const [choice] = event.choices ?? [];
  const { usage } = event;
  return {
    text: choice?.delta?.content ?? choice?.text ?? "",
    choice: choice?.index ?? 0,
    finish: choice?.finish_reason ?? null,
    ...(event.id === undefined ? {} : { id: event.id }),
    opens: choice?.delta?.role !== undefined,
    usage: usage === undefined ? null : countOf(usage.prompt_tokens, usage.completion_tokens),
  };
}

function readMessages({ type, error, message, delta, usage }: Partial<Event>): Step {
  switch (type) {
    case "error":
      return { error: error?.type ?? "" };
    case "message_start":
      return { opens: true, id: message?.id ?? "" };
    case "content_block_delta":
      return { text: delta?.text ?? "" };
    case "message_delta":
      return {
        finish: delta?.stop_reason ?? null,
        usage: countOf(
          (usage?.input_tokens ?? 0) + (usage?.cache_read_input_tokens ?? 0),
          usage?.output_tokens,
        ),
      };
    case "message_stop":
      return { ends: true };
    default:
      return nothing;
  }
}

function readResponses({ type, code, delta, response }: Partial<Event>): Step {
  switch (type) {
    case "error":
      return { error: code ?? "" };
    case "response.created":
      return { opens: true, id: response?.id ?? "" };
    case "response.output_text.delta":
      return { text: delta ?? "" };
    case "response.completed":
    case "response.incomplete": {
      const { usage, status } = response ?? {};
      return {
        ends: true,
        id: response?.id ?? "",
        finish: status ?? null,
        usage: countOf(usage?.input_tokens, usage?.output_tokens),
      };
    }
    default:
      return nothing;
  }
}

function readNative(event: Partial<Event>): Step {
  if (event.error_type !== undefined) return { error: event.error_type };
  const { details, token: piece } = event;
  if (details === undefined || details === null) return { text: piece?.text ?? "" };
  return {
    ends: true,
    finish: details.finish_reason,
    usage: countOf(event.num_input_tokens, event.num_output_tokens),
  };
}

function countOf(input = 0, output = 0): { input: number; output: number } {
  return { input, output };
}

const faces: Readonly<
  Record<StreamFace, { path(model: string): string; read(event: Partial<Event>): Step }>
> = {
  chat: { path: () => "/v1/chat/completions", read: readOpenAi },
  completions: { path: () => "/v1/completions", read: readOpenAi },
  messages: { path: () => "/anthropic/v1/messages", read: readMessages },
  responses: { path: () => "/v1/responses", read: readResponses },
  native: { path: (model) => `/v1/inference/${model}`, read: readNative },
};

export function startStream(
  url: string,
  face: StreamFace,
  body: Readonly<Record<string, unknown>> & { readonly model: string },
): RunningStream {
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const ended = readStream(url, face, body, resolve).finally(resolve);
  return { begun, ended };
}

async function readStream(
  url: string,
  face: StreamFace,
  body: Readonly<Record<string, unknown>> & { readonly model: string },
  onText: () => void,
): Promise<Streamed> {
  const { model, ...rest } = body;
  const response = await fetch(url + faces[face].path(model), {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ ...(face === "native" ? rest : body), stream: true }),
  });
  const { status } = response;
  const requestId = response.headers.get("x-request-id") ?? "";
  const seen = new Tally(onText);
  if (status !== 200) {
    seen.add({ error: `${status} ${(await response.text()).slice(0, 300)}` });
    return { requestId, status, ...seen.sum() };
  }
  try {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const piece of response.body ?? []) {
      const events = (rest + decoder.decode(piece, { stream: true })).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) seen.add(stepOf(face, event));
    }
    if (rest !== "") seen.add({ error: "half an event" });
  } catch {
    seen.add({ error: "cut" }); // what fetch says of a connection that was cut differs
  }
  return { requestId, status, ...seen.sum() };
}

function stepOf(face: StreamFace, event: string): Step {
  const data = event
    .split("\n")
    .find((line) => line.startsWith("data: "))
    ?.slice("data: ".length);
  if (data === undefined) return nothing;
  if (data === "[DONE]") return { ends: true };
  return faces[face].read(JSON.parse(data) as Partial<Event>);
}

class Tally {
  readonly #onText: () => void;
  readonly #texts: string[] = [];
  readonly #ids = new Set<string>();
  #finish: string | null = null;
  #usage: Streamed["usage"] = null;
  #error: string | null = null;
  #openings = 0;
  #ends = 0;

  constructor(onText: () => void) {
    this.#onText = onText;
  }

  add({ text = "", choice = 0, finish, usage, error, id, opens, ends }: Step): void {
    this.#texts[choice] = (this.#texts[choice] ?? "") + text;
    this.#finish = finish ?? this.#finish;
    this.#usage = usage ?? this.#usage;
    this.#error ??= error ?? null;
    if (id !== undefined) this.#ids.add(id);
    if (opens === true) this.#openings += 1;
    if (ends === true) this.#ends += 1;
    if (text !== "") this.#onText();
  }

  sum(): Omit<Streamed, "requestId" | "status"> {
    const hasEnded = this.#error !== null || this.#ends > 0;
    return {
      text: this.#texts.join("\n"),
      finish: this.#finish,
      usage: this.#usage,
      error: hasEnded ? this.#error : "cut",
      openings: this.#openings,
      ids: this.#ids.size,
      ends: this.#ends,
    };
  }
}
