/**
 * An honest stand-in for an OpenAI-compatible engine, for tests that need one that starts at once or fails on demand.
 * It keeps the rules that real engines keep (secret, slots, cancelling when the client leaves) and counts what it sees,
 * so that tests can ask it; its faults are switched on by name. Must not be used to judge speed or quality.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What it does wrong; null for nothing. Those with a number act after that many tokens of a stream. */
export type Fault =
  | { readonly kind: "die-after"; readonly tokens: number }
  | { readonly kind: "hang-after"; readonly tokens: number }
  /** Ends its answer in order, but without having said so. */
  | { readonly kind: "end-after"; readonly tokens: number }
  /** Never answers, or never again after so many answers. */
  | { readonly kind: "hang"; readonly after?: number }
  /** Closes the connection instead of answering. */
  | { readonly kind: "hang-up" }
  /** Answers without a length and ends by closing. */
  | { readonly kind: "until-close" }
  /** Sends every byte on its own. */
  | { readonly kind: "drip" }
  /** Announces a length and chunks at once. */
  | { readonly kind: "two-framings" }
  /** A chunk size that is no number, after the first token. */
  | { readonly kind: "bad-chunk" }
  /** 503, as an engine whose slots are all taken. */
  | { readonly kind: "busy" }
  /** Ends with its whole process in the middle of an answer. */
  | { readonly kind: "exit-after"; readonly tokens: number; exit(): void }
  /** 200 and nothing. */
  | { readonly kind: "empty" }
  /** 200 and a page instead of an answer. */
  | { readonly kind: "page" };

export type FakeEngineOptions = {
  readonly secret: string;
  readonly slots: number;
  /** Tokens of every answer. */
  readonly tokens: number;
  /** Milliseconds before each token. */
  readonly delayMs: number;
  /** Milliseconds from the start until it is ready. */
  readonly loadMs: number;
  readonly contextTokens: number;
  /** Milliseconds after which it closes idle connections. */
  readonly keepAliveMs: number;
  /** What it lists as its models. */
  readonly servedNames: readonly string[];
  /** Text of each token, for tests that need odd or large ones; "#" stands for its number. */
  readonly tokenText: string;
};

export const fakeEngineDefaults: FakeEngineOptions = {
  secret: "fake-secret",
  slots: 4,
  tokens: 5,
  delayMs: 0,
  loadMs: 0,
  contextTokens: 2048,
  keepAliveMs: 5000,
  servedNames: [],
  tokenText: "word ",
};

/** A request as the engine got it. */
export type SeenRequest = {
  readonly path: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
};

export type FakeEngine = {
  /** Every request with the right secret, health checks left out; oldest first. */
  readonly seen: SeenRequest[];
  /** Requests it works on. */
  readonly busy: number;
  /** The most it ever worked on at once. */
  readonly maxBusy: number;
  /** Requests whose client left before the end. */
  readonly cancelled: number;
  fault: Fault | null;
  listen(at: { readonly socket: string } | { readonly port: number }): Promise<number>;
  /** Cuts every connection and stops listening, as a killed process would. */
  kill(): Promise<void>;
};

export function createFakeEngine(given: Partial<FakeEngineOptions> = {}): FakeEngine {
  const options = { ...fakeEngineDefaults, ...given };
  const seen: SeenRequest[] = [];
  const state = { busy: 0, maxBusy: 0, cancelled: 0, fault: null as Fault | null, startedAtMs: Date.now() };

  const server: Server = createServer({ keepAliveTimeout: options.keepAliveMs }, (request, response) => {
    answer(request, response).catch((error) => response.destroy(error as Error));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    if (request.headers.authorization !== `Bearer ${options.secret}`)
      return sendError(response, 401, "wrong secret");
    if (path === "/health") return sendHealth(response);
    if (path === "/v1/models") {
      const models = options.servedNames.map((id) => ({ id, max_model_len: options.contextTokens }));
      return sendJson(response, 200, { object: "list", data: models });
    }
    const body = await readAll(request);
    seen.push({ path, rawHeaders: request.rawHeaders, headers: request.headers, body });
    if (state.fault?.kind === "busy" || state.busy >= options.slots)
      return sendError(response, 503, "no free slot");
    const leave = new AbortController();
    response.once("close", () => leave.abort());
    state.busy += 1;
    state.maxBusy = Math.max(state.maxBusy, state.busy);
    try {
      await serve(path, body, response, leave.signal);
    } catch (error) {
      if (!leave.signal.aborted) throw error;
    } finally {
      state.busy -= 1;
      if (!response.writableFinished) state.cancelled += 1;
    }
  }

  function sendHealth(response: ServerResponse): void {
    const progress = Math.min(1, (Date.now() - state.startedAtMs) / Math.max(1, options.loadMs));
    if (progress < 1) sendJson(response, 503, { state: "loading", progress });
    else {
      const { slots, contextTokens } = options;
      sendJson(response, 200, { state: "ready", slots, contextTokens, note: null });
    }
  }

  async function serve(
    path: string,
    body: string,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { fault } = state;
    if (fault?.kind === "hang" && seen.length > (fault.after ?? 0)) return waitForAbort(signal);
    if (fault?.kind === "hang-up") return void response.destroy();
    if (fault?.kind === "empty") return void response.end();
    if (fault?.kind === "page") return void response.end("<html>Welcome!</html>");
    const asked = JSON.parse(body) as AskedBody;
    const model = asked.model ?? "";
    if (path === "/tokenize" || path === "/detokenize") {
      return sendWhole(response, tokensOf(path, asked, options.contextTokens), fault);
    }
    if (path === "/v1/embeddings") return sendWhole(response, embeddingOf(model), fault);
    const isChat = path === "/v1/chat/completions";
    if (!isChat && path !== "/v1/completions") return sendError(response, 404, "no such path");
    const from = continuedFrom(asked, options);
    const to = Math.min(options.tokens, asked.max_tokens ?? options.tokens);
    const answer: Answer = { model, isChat, options, from, to };
    if (asked.stream === true) return stream(response, answer, fault, signal);
    await pause(options.delayMs * (to - from), signal);
    sendWhole(response, completionOf(answer), fault);
  }

  async function stream(
    response: ServerResponse,
    answer: Answer,
    fault: Fault | null,
    signal: AbortSignal,
  ): Promise<void> {
    const send = senderFor(response, fault, { "content-type": "text/event-stream" });
    for (let i = answer.from; i < answer.to; i += 1) {
      if (fault?.kind === "die-after" && i >= fault.tokens) return breakOff(response);
      if (fault?.kind === "exit-after" && i >= fault.tokens) {
        setImmediate(fault.exit); // What was written goes out first.
        return waitForAbort(signal);
      }
      if (fault?.kind === "end-after" && i >= fault.tokens) return void response.end();
      if (fault?.kind === "hang-after" && i >= fault.tokens) return waitForAbort(signal);
      await pause(options.delayMs, signal);
      const isTaken = send(`data: ${JSON.stringify(chunkOf(answer, i))}\n\n`);
      if (fault?.kind === "bad-chunk") response.socket?.write("zz\r\n");
      if (!isTaken) await drained(response, signal);
    }
    if (fault?.kind === "die-after") return breakOff(response);
    send("data: [DONE]\n\n");
    response.end();
  }

  return {
    seen,
    get busy() {
      return state.busy;
    },
    get maxBusy() {
      return state.maxBusy;
    },
    get cancelled() {
      return state.cancelled;
    },
    get fault() {
      return state.fault;
    },
    set fault(fault) {
      state.fault = fault;
    },
    async listen(at) {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        if ("socket" in at) server.listen(at.socket, resolve);
        else server.listen(at.port, "127.0.0.1", resolve);
      });
      const address = server.address();
      return typeof address === "object" ? ((address as AddressInfo | null)?.port ?? 0) : 0;
    },
    async kill() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Writes the head as the fault wants it and answers the function that writes pieces of the body. */
function senderFor(
  response: ServerResponse,
  fault: Fault | null,
  headers: Record<string, string>,
): (text: string) => boolean {
  if (fault?.kind === "until-close") {
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
  }
  if (fault?.kind === "two-framings") {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    response.socket?.write(
      `HTTP/1.1 200 OK\r\n${lines.join("")}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    return (text) => response.socket?.write(`${text.length.toString(16)}\r\n${text}\r\n`) ?? false;
  }
  response.writeHead(200, headers);
  if (fault?.kind !== "drip") return (text) => response.write(text);
  return (text) => {
    let isTaken = true;
    for (const byte of Buffer.from(text)) isTaken = response.write(Buffer.of(byte));
    return isTaken;
  };
}

function sendWhole(response: ServerResponse, value: unknown, fault: Fault | null): void {
  const text = JSON.stringify(value);
  if (fault === null) {
    sendJson(response, 200, value);
    return;
  }
  const send = senderFor(response, fault, { "content-type": "application/json" });
  if (fault.kind !== "die-after") {
    send(text);
    response.end();
    return;
  }
  send(text.slice(0, text.length / 2));
  breakOff(response);
}

/** Breaks the connection, once what was written is on its way. */
function breakOff({ socket }: ServerResponse): void {
  // Unix sockets know no reset.
  setImmediate(() => (socket?.remoteAddress === undefined ? socket?.destroy() : socket.resetAndDestroy()));
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function sendError(response: ServerResponse, status: number, message: string): void {
  sendJson(response, status, { error: { message, type: "server_error", param: null, code: null } });
}

const created = 1_700_000_000;

type AskedBody = {
  readonly model?: string;
  readonly stream?: boolean;
  readonly max_tokens?: number;
  readonly continuation?: string;
  readonly prompt?: unknown;
  readonly messages?: unknown;
  readonly tokens?: readonly number[];
  readonly return_token_strs?: boolean;
};

/** An answer's tokens, from one to before another. */
type Answer = {
  readonly model: string;
  readonly isChat: boolean;
  readonly options: FakeEngineOptions;
  readonly from: number;
  readonly to: number;
};

function tokenAt({ tokenText }: FakeEngineOptions, i: number): string {
  return tokenText.replaceAll("#", String(i));
}

/** Tokens of the answer that it has already: what `continuation` says, which must be one of its beginnings. */
function continuedFrom({ continuation = "" }: AskedBody, options: FakeEngineOptions): number {
  let text = "";
  for (let i = 0; i < options.tokens; i += 1) {
    if (text === continuation) return i;
    text += tokenAt(options, i);
  }
  return options.tokens;
}

/** Counts the whole answer, also where only its end is asked for. */
function usageOf({ to }: Answer): Record<string, unknown> {
  const prompt = 7;
  return {
    prompt_tokens: prompt,
    completion_tokens: to,
    total_tokens: prompt + to,
    prompt_tokens_details: { cached_tokens: 0 },
  };
}

function chunkOf(answer: Answer, i: number): unknown {
  const { model, isChat, options } = answer;
  const isLast = i === answer.to - 1;
  const finish = isLast ? "length" : null;
  const text = tokenAt(options, i);
  const delta = i === answer.from ? { role: "assistant", content: text } : { content: text };
  const choice = isChat
    ? { index: 0, delta, finish_reason: finish }
    : { index: 0, text, finish_reason: finish };
  const object = isChat ? "chat.completion.chunk" : "text_completion";
  const base = { id: answer.from === 0 ? "fake-1" : "fake-2", object, created, model, choices: [choice] };
  return isLast ? { ...base, usage: usageOf(answer) } : base;
}

function completionOf(answer: Answer): unknown {
  const { model, isChat, options, from, to } = answer;
  const text = Array.from({ length: to - from }, (_, i) => tokenAt(options, from + i)).join("");
  const choice = isChat
    ? { index: 0, message: { role: "assistant", content: text }, finish_reason: "length" }
    : { index: 0, text, finish_reason: "length" };
  const object = isChat ? "chat.completion" : "text_completion";
  return { id: "fake-1", object, created, model, choices: [choice], usage: usageOf(answer) };
}

function embeddingOf(model: string): unknown {
  const data = [{ object: "embedding", index: 0, embedding: [0.5, -0.5, 0.25] }];
  return { object: "list", data, model, usage: { prompt_tokens: 3, total_tokens: 3 } };
}

/** A token a character, its id the code point. */
function tokensOf(path: string, asked: AskedBody, contextTokens: number): unknown {
  if (path === "/detokenize") return { prompt: String.fromCodePoint(...(asked.tokens ?? [])) };
  const text = typeof asked.prompt === "string" ? asked.prompt : JSON.stringify(asked.messages ?? []);
  const characters = [...text];
  return {
    count: characters.length,
    max_model_len: contextTokens,
    tokens: characters.map((character) => character.codePointAt(0)),
    token_strs: asked.return_token_strs === true ? characters : null,
  };
}

async function readAll(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(new Error("the client has left"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, ms);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });
}

function waitForAbort(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    response.once("drain", resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
