/**
 * Fetches bytes over HTTP/1.1 with as little work for each byte as Node allows: every connection reads into one buffer of
 * its own, again and again, and hands it on at once, so that nothing is allocated or copied on the way. Only for places
 * that the client has found and for answers with a length; whatever is not such an answer is for the client to ask and
 * explain. Addresses pass the same guard. Never logs or repeats a URL.
 */
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { explain, type Place } from "./client.ts";
import { addressRefused, Hiccup } from "./failures.ts";
import { checkUrl, guardedLookup, RefusedAddressError } from "./guard.ts";
import { parseHead } from "./wire-head.ts";

export type WireOptions = {
  /** Origin of the endpoint: an administrator chose it, so it is not guarded. */
  readonly endpointOrigin: string;
  readonly allowPrivateRedirects: boolean;
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly idleTimeoutMs: number;
};

/** Takes bytes that are good only during the call; false: enough, no more is wanted. */
export type Sink = (bytes: Uint8Array) => boolean;

export type WireReply = {
  readonly status: number;
  header(name: string): string | null;
  /** Hands all of the body on. Rejects with a Hiccup when the connection fails, with what the sink throws. */
  read(sink: Sink): Promise<void>;
  /** Lets go of a body that is not going to be read. */
  close(): void;
};

const bufferBytes = 256 * 1024;
/** Servers close idle connections after 5 s and more; this is before that, milliseconds. */
const idleKeepMs = 4000;
const maxIdle = 64;

export class Wire {
  readonly #options: WireOptions;
  readonly #idle = new Map<string, Connection[]>();
  readonly #lookup: ReturnType<typeof guardedLookup>;

  constructor(options: WireOptions) {
    this.#options = options;
    this.#lookup = guardedLookup(options.allowPrivateRedirects);
  }

  /** Asks for a place. Null: it answered in a way that is not for this file to read. */
  async get(
    place: Place,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<WireReply | null> {
    const { url } = place;
    signal.throwIfAborted();
    const kept = this.#idle.get(url.origin)?.pop();
    if (kept !== undefined) {
      const reply = await kept.ask(url, headers, signal);
      // A kept connection may have been closed by the other side just now: that says nothing about the place.
      if (reply !== "gone") return reply;
    }
    const fresh = await this.#connect(url, signal);
    const reply = await fresh.ask(url, headers, signal);
    if (reply === "gone") throw new Hiccup("broke the connection off");
    return reply;
  }

  async #connect(url: URL, signal: AbortSignal): Promise<Connection> {
    const isGuarded = url.origin !== this.#options.endpointOrigin;
    if (isGuarded) this.#check(url);
    const buffer = Buffer.allocUnsafeSlow(bufferBytes);
    let connection: Connection | null = null;
    const onread = {
      buffer,
      callback: (bytes: number) => {
        connection?.hear(buffer.subarray(0, bytes));
        return true;
      },
    };
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const isTls = url.protocol === "https:";
    const port = Number(url.port === "" ? (isTls ? 443 : 80) : url.port);
    const options = { host, port, onread, noDelay: true, ...(isGuarded ? { lookup: this.#lookup } : {}) };
    const servername = /^[\d.]+$|:/.test(host) ? "" : host;
    const socket = isTls
      ? connectTls({ ...options, servername, ALPNProtocols: ["http/1.1"] })
      : connectPlain(options);
    await ready(socket, isTls, url.host, this.#options.connectTimeoutMs, signal);
    connection = new Connection(socket, this.#options, (one) => this.#keep(url.origin, one));
    return connection;
  }

  #check(url: URL): void {
    try {
      checkUrl(url, this.#options.allowPrivateRedirects);
    } catch (error) {
      throw error instanceof RefusedAddressError ? addressRefused(url.host, error.why) : error;
    }
  }

  #keep(origin: string, connection: Connection): void {
    const idle = this.#idle.get(origin) ?? [];
    this.#idle.set(origin, idle);
    if (idle.length >= maxIdle) {
      connection.end();
      return;
    }
    idle.push(connection);
    connection.rest(() => {
      const index = idle.indexOf(connection);
      if (index >= 0) idle.splice(index, 1);
    });
  }
}

async function ready(
  socket: Socket,
  isTls: boolean,
  host: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Hiccup("did not accept a connection in time")), timeoutMs);
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  socket.once(isTls ? "secureConnect" : "connect", resolve);
  socket.once("error", reject);
  try {
    await promise;
  } catch (error) {
    socket.on("error", () => undefined).destroy();
    throw explain(error, host, signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    socket.removeListener("error", reject);
  }
}

/** One exchange as its connection sees it. */
type Exchange = {
  readonly signal: AbortSignal;
  readonly head: ReturnType<typeof Promise.withResolvers<WireReply | null | "gone">>;
  readonly body: ReturnType<typeof Promise.withResolvers<void>>;
  sink: Sink | null;
  /** Bytes that came together with the head, before anybody read. */
  early: Uint8Array | null;
  headBytes: Buffer;
  bytesLeft: number;
  state: "head" | "body" | "over";
  mayKeep: boolean;
};

class Connection {
  readonly #socket: Socket;
  readonly #options: WireOptions;
  readonly #release: (connection: Connection) => void;
  #exchange: Exchange | null = null;
  #onGone: () => void = () => undefined;
  #timer: NodeJS.Timeout | null = null;
  #deadline = "";

  constructor(socket: Socket, options: WireOptions, release: (connection: Connection) => void) {
    this.#socket = socket;
    this.#options = options;
    this.#release = release;
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(Object.assign(new Error("closed"), { code: "ECONNRESET" })));
    socket.on("end", () => this.#fail(Object.assign(new Error("ended"), { code: "ECONNRESET" })));
  }

  /** "gone": it was closed before it answered. */
  async ask(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<WireReply | null | "gone"> {
    this.#onGone = () => undefined;
    if (this.#socket.destroyed) return "gone";
    this.#socket.ref();
    const exchange: Exchange = {
      ...{ signal, head: Promise.withResolvers(), body: Promise.withResolvers(), sink: null, early: null },
      ...{ headBytes: Buffer.alloc(0), bytesLeft: 0, state: "head", mayKeep: false },
    };
    exchange.body.promise.catch(() => undefined);
    this.#exchange = exchange;
    const lines = Object.entries({
      host: url.host,
      "user-agent": "berth",
      "accept-encoding": "identity",
      ...headers,
    });
    const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    this.#expect("did not answer in time", this.#options.headersTimeoutMs);
    const abort = () => this.#fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    exchange.body.promise.then(
      () => signal.removeEventListener("abort", abort),
      () => signal.removeEventListener("abort", abort),
    );
    this.#socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${text}\r\n`);
    return await exchange.head.promise;
  }

  /** Bytes have come; they are in the connection's one buffer. */
  hear(bytes: Uint8Array): void {
    const exchange = this.#exchange;
    // Nobody asked for anything: whatever this is, the connection is of no use any more.
    if (exchange === null) {
      this.end();
      return;
    }
    this.#timer?.refresh();
    if (exchange.state === "head") this.#readHead(exchange, bytes);
    else if (exchange.state === "body") this.#readBody(exchange, bytes);
  }

  rest(onGone: () => void): void {
    this.#onGone = onGone;
    this.#expect("idle", idleKeepMs);
    this.#timer?.unref();
    this.#socket.unref();
  }

  end(): void {
    this.#clear();
    this.#socket.destroy();
  }

  #readHead(exchange: Exchange, bytes: Uint8Array): void {
    exchange.headBytes = Buffer.concat([exchange.headBytes, bytes]);
    const found = parseHead(exchange.headBytes);
    if (found === "incomplete") return;
    if (found === null || found.contentBytes === null) {
      exchange.head.resolve(null);
      this.#finish(exchange, false);
      return;
    }
    const { status, headers, contentBytes, mayKeep } = found;
    exchange.state = "body";
    exchange.bytesLeft = contentBytes;
    exchange.mayKeep = mayKeep;
    exchange.early = Uint8Array.from(exchange.headBytes.subarray(found.headBytes));
    // Until somebody reads, the kernel keeps what comes.
    this.#socket.pause();
    this.#expect("stopped sending", this.#options.idleTimeoutMs);
    exchange.head.resolve({
      status,
      header: (name) => headers.get(name) ?? null,
      read: (sink) => this.#read(exchange, sink),
      close: () => this.#finish(exchange, false),
    });
  }

  async #read(exchange: Exchange, sink: Sink): Promise<void> {
    exchange.sink = sink;
    const { early } = exchange;
    exchange.early = null;
    if (early !== null) this.#readBody(exchange, early);
    if (exchange.state === "body") this.#socket.resume();
    await exchange.body.promise;
  }

  #readBody(exchange: Exchange, bytes: Uint8Array): void {
    const { sink } = exchange;
    if (sink === null) {
      // Read ahead before the pause took hold.
      exchange.early = Buffer.concat([exchange.early ?? new Uint8Array(), bytes]);
      return;
    }
    const mine = bytes.subarray(0, exchange.bytesLeft);
    exchange.bytesLeft -= mine.byteLength;
    let wantsMore = true;
    try {
      if (mine.byteLength > 0) wantsMore = sink(mine);
    } catch (error) {
      // What goes wrong with the bytes is no fault of the connection: the caller gets its own error back.
      exchange.body.reject(error);
      this.#finish(exchange, false);
      return;
    }
    if (exchange.bytesLeft === 0)
      this.#finish(exchange, exchange.mayKeep && mine.byteLength === bytes.byteLength);
    else if (!wantsMore) this.#finish(exchange, false);
  }

  /** The exchange ended well; the connection is kept or not. */
  #finish(exchange: Exchange, keep: boolean): void {
    if (exchange.state === "over") return;
    exchange.state = "over";
    this.#clear();
    exchange.body.resolve();
    if (!keep) {
      this.end();
      return;
    }
    this.#socket.resume();
    this.#release(this);
  }

  #fail(error: unknown): void {
    const exchange = this.#exchange;
    this.end();
    this.#onGone();
    if (exchange === null || exchange.state === "over") return;
    const isFirst = exchange.state === "head" && exchange.headBytes.length === 0;
    exchange.state = "over";
    const reason = explain(error, "", exchange.signal);
    exchange.body.reject(reason);
    if (isFirst && isClosed(error)) exchange.head.resolve("gone");
    else exchange.head.reject(reason);
  }

  #expect(what: string, withinMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#deadline = what;
    this.#timer = setTimeout(() => this.#fail(new Hiccup(this.#deadline)), withinMs);
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#exchange = null;
  }
}

function isClosed(error: unknown): boolean {
  return (
    error instanceof Error && ["ECONNRESET", "EPIPE"].includes((error as NodeJS.ErrnoException).code ?? "")
  );
}
