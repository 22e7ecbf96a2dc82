/**
 * The HTTP/1.1 client towards engines, on plain sockets: several times cheaper per request and per chunk than the
 * general clients, and it says exactly how far a request had come when something broke. Owns the connections and their
 * time limits. Must not know models, accounts or what a body says.
 */
import { connect, type Socket } from "node:net";
import type { Endpoint } from "../core/instance.ts";
import { lookEveryMs } from "./look-every.ts";
import { type BodyReader, createBodyReader } from "./response-body.ts";
import { MalformedResponse, maxHeadBytes, parseHead, type ResponseHead } from "./response-head.ts";
import type { TurnEnd, Unsent } from "./turn-end.ts";

export type CallLimits = {
  /** Milliseconds until a connection stands. */
  readonly connectMs: number;
  /** Milliseconds from then until the first byte of the body. */
  readonly firstTokenMs: number;
  /** The same for an answer that is no stream: its first byte comes when all is done. */
  readonly totalMs: number;
  /** Milliseconds between bytes of the body, and for a client to take some when it has fallen behind. */
  readonly silenceMs: number;
};

/**
 * Why a call ended early. refused: no connection, the engine has seen nothing; dropped: it hung up before it answered a
 * byte; broken: it hung up within its answer; silent: a time limit passed; nonsense: not HTTP; stalled: the receiver of
 * the answer did not take it in time.
 */
export type CallFailure = {
  readonly kind: "refused" | "dropped" | "broken" | "silent" | "nonsense" | "stalled";
  readonly detail: string;
};

/** What hears of a call. Exactly one of onEnd and onFailure is called, last, unless the call was aborted. */
export type CallEvents = {
  onHead(head: ResponseHead): void;
  /** A piece of the body; false asks for a pause until `resume`. */
  onBody(piece: Buffer): boolean;
  onEnd(): void;
  onFailure(failure: CallFailure): void;
};

export type CallRequest = {
  readonly endpoint: Endpoint;
  /** Request line and headers with the empty line, one character a byte. */
  readonly head: string;
  readonly body: Buffer;
  /** The answer is expected piece by piece. */
  readonly isStream: boolean;
};

/** Engines close idle connections after 5 s (Node's and uvicorn's default): Berth is faster, so that it seldom races. */
const idleMs = 4000;
const maxIdlePerEndpoint = 256;
/** Bodies up to this size, in bytes, are put behind their head: one short text is much cheaper to send than two pieces. */
const maxJoinedBytes = 16_384;
/**
 * Where every connection reads into: what has come is handled, or copied, before anything else is read. With memory of its
 * own for each read, a stream would keep 64 KB for every few bytes that wait.
 */
const readInto = Buffer.allocUnsafeSlow(65_536);

/** The limit of a call that is over first. */
export function shortestLimitMs({ connectMs, firstTokenMs, totalMs, silenceMs }: CallLimits): number {
  return Math.min(connectMs, firstTokenMs, totalMs, silenceMs);
}

export class EnginePool {
  readonly limits: CallLimits;
  readonly turnEnd: TurnEnd;
  readonly now: () => number;
  readonly #siblings = new Map<string, Siblings>();
  readonly #open = new Set<Connection>();
  readonly #lookEveryMs: number;
  #look: NodeJS.Timeout | null = null;

  /** @param now milliseconds, of which none pass while this process stands still */
  constructor(limits: CallLimits, turnEnd: TurnEnd, now: () => number) {
    this.limits = limits;
    this.turnEnd = turnEnd;
    this.now = now;
    this.#lookEveryMs = lookEveryMs(shortestLimitMs(limits));
  }

  /** Connections that stand or are being made, idle ones among them. */
  get connections(): number {
    return this.#open.size;
  }

  /** Sends the request; answers come through `events`, never before this returns. */
  call(request: CallRequest, events: CallEvents): EngineCall {
    return new EngineCall(this, request, events);
  }

  /** An idle connection to the endpoint, else a new one. */
  checkOut(endpoint: Endpoint, isFreshNeeded: boolean): Connection {
    const key = keyOf(endpoint);
    const siblings = this.#siblings.get(key) ?? { idle: [], open: 0 };
    const idle = isFreshNeeded ? undefined : siblings.idle.pop();
    if (idle !== undefined) return idle;
    const connection = new Connection(endpoint, siblings, () => this.#forget(key, connection));
    siblings.open += 1;
    this.#siblings.set(key, siblings);
    this.#open.add(connection);
    this.#look ??= setInterval(() => this.#lookForOverdue(), this.#lookEveryMs).unref();
    return connection;
  }

  /** Takes a connection back after a whole answer. */
  checkIn(connection: Connection): void {
    const { idle } = connection.siblings;
    if (idle.length >= maxIdlePerEndpoint) {
      connection.socket.destroy();
      return;
    }
    connection.rest(this.now() + idleMs);
    idle.push(connection);
  }

  /** Cuts every connection, also those in use. */
  destroy(): void {
    for (const connection of this.#open) connection.socket.destroy();
  }

  /** One look at all of them is cheaper than a timer for each, which every piece of a stream would set anew. */
  #lookForOverdue(): void {
    const nowMs = this.now();
    // What has come is read before: a timer may go off while it still waits in the kernel.
    setImmediate(() => {
      for (const connection of this.#open) if (connection.dueAtMs <= nowMs) connection.takeTimeout();
    });
  }

  #forget(key: string, connection: Connection): void {
    this.#open.delete(connection);
    if (this.#open.size === 0 && this.#look !== null) {
      clearInterval(this.#look);
      this.#look = null;
    }
    const { siblings } = connection;
    const at = siblings.idle.indexOf(connection);
    if (at !== -1) siblings.idle.splice(at, 1);
    siblings.open -= 1;
    if (siblings.open === 0) this.#siblings.delete(key);
  }
}

/** The connections that lead to one endpoint. */
type Siblings = {
  readonly idle: Connection[];
  /** How many there are, idle or not. */
  open: number;
};

function keyOf(endpoint: Endpoint): string {
  return endpoint.kind === "unix" ? endpoint.path : `${endpoint.host}:${endpoint.port}`;
}

/** A socket that serves one call after another. Its listeners are set once; they speak to the call of the moment. */
class Connection implements Unsent {
  readonly socket: Socket;
  readonly siblings: Siblings;
  call: EngineCall | null = null;
  isConnected = false;
  /** It has carried a whole answer before. */
  isUsed = false;
  /** When what it waits for must have come, by the pool's clock. */
  dueAtMs = Number.POSITIVE_INFINITY;
  /** A request that waits for the end of the turn. */
  unsent = "";
  #lastError = "";

  constructor(endpoint: Endpoint, siblings: Siblings, onGone: () => void) {
    this.siblings = siblings;
    const onread = { buffer: readInto, callback: (length: number) => this.#take(length) };
    this.socket =
      endpoint.kind === "unix"
        ? connect({ path: endpoint.path, onread })
        : connect({ host: endpoint.host, port: endpoint.port, noDelay: true, keepAlive: true, onread });
    this.socket.on("connect", () => {
      this.isConnected = true;
      this.call?.takeConnect();
    });
    this.socket.on("error", (error) => {
      this.#lastError = error.message;
    });
    this.socket.on("close", () => {
      onGone();
      this.call?.takeClose(this.#lastError);
    });
  }

  /** True: read on, unless the socket was paused meanwhile. */
  #take(length: number): boolean {
    // Bytes that nobody asked for: the connection is of no use any more.
    if (this.call === null) this.socket.destroy();
    else {
      const bytes = Buffer.allocUnsafe(length);
      readInto.copy(bytes, 0, 0, length);
      this.call.takeBytes(bytes);
    }
    return true;
  }

  flush(): void {
    const text = this.unsent;
    this.unsent = "";
    if (text !== "" && !this.socket.destroyed) this.socket.write(text, "latin1");
  }

  takeTimeout(): void {
    if (this.call === null) this.socket.destroy();
    else this.call.takeTimeout();
  }

  /** Waits for its next call, until then. */
  rest(untilMs: number): void {
    this.call = null;
    this.isUsed = true;
    this.dueAtMs = untilMs;
  }
}

/** One request and its answer. */
export class EngineCall {
  readonly #pool: EnginePool;
  readonly #request: CallRequest;
  readonly #events: CallEvents;
  #connection: Connection;
  /** The head as far as it has come. */
  #headBytes: Buffer = Buffer.alloc(0);
  #head: ResponseHead | null = null;
  #body: BodyReader | null = null;
  #hasByte = false;
  #hasBodyByte = false;
  #isPaused = false;
  #isResent = false;
  #isOver = false;

  constructor(pool: EnginePool, request: CallRequest, events: CallEvents) {
    this.#pool = pool;
    this.#request = request;
    this.#events = events;
    this.#connection = this.#send(false);
  }

  /** Ends the call: the connection is cut, which tells the engine to cancel. No event comes any more. */
  abort(): void {
    this.#isOver = true;
    this.#connection.socket.destroy();
  }

  /** The receiver can take more. */
  resume(): void {
    if (!this.#isPaused || this.#isOver) return;
    this.#isPaused = false;
    this.#allow(this.#pool.limits.silenceMs);
    this.#connection.socket.resume();
  }

  #send(isFreshNeeded: boolean): Connection {
    const connection = this.#pool.checkOut(this.#request.endpoint, isFreshNeeded);
    const { socket } = connection;
    connection.call = this;
    this.#connection = connection;
    this.#allow(connection.isConnected ? this.#firstByteMs() : this.#pool.limits.connectMs);
    const { head, body } = this.#request;
    if (body.length <= maxJoinedBytes) {
      connection.unsent = head + body.toString("latin1");
      this.#pool.turnEnd.add(connection);
    } else {
      socket.cork();
      socket.write(head, "latin1");
      socket.write(body);
      socket.uncork();
    }
    return connection;
  }

  takeConnect(): void {
    this.#allow(this.#firstByteMs());
  }

  #firstByteMs(): number {
    const { firstTokenMs, totalMs } = this.#pool.limits;
    return this.#request.isStream ? firstTokenMs : totalMs;
  }

  /** What comes next must have come in this time. */
  #allow(ms: number): void {
    this.#connection.dueAtMs = this.#pool.now() + ms;
  }

  takeBytes(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#hasByte = true;
    try {
      const rest = this.#head === null ? this.#readHead(bytes) : bytes;
      if (rest !== null) this.#readBody(rest);
    } catch (error) {
      if (!(error instanceof MalformedResponse)) throw error;
      this.#fail({ kind: "nonsense", detail: error.message });
    }
  }

  takeTimeout(): void {
    if (!this.#connection.isConnected) {
      this.#fail({ kind: "refused", detail: `no connection within ${this.#pool.limits.connectMs} ms` });
    } else if (this.#isPaused) {
      this.#fail({ kind: "stalled", detail: `nothing was taken for ${this.#pool.limits.silenceMs} ms` });
    } else if (this.#hasBodyByte) {
      this.#fail({ kind: "silent", detail: `nothing came for ${this.#pool.limits.silenceMs} ms` });
    } else {
      this.#fail({ kind: "silent", detail: `no answer came within ${this.#firstByteMs()} ms` });
    }
  }

  takeClose(lastError: string): void {
    if (this.#isOver) return;
    if (this.#body?.endsAtClose() === true && lastError === "") {
      this.#isOver = true;
      this.#events.onEnd();
    } else if (!this.#connection.isConnected) {
      this.#fail({ kind: this.#isResent ? "dropped" : "refused", detail: lastError });
    } else if (!this.#hasByte && this.#connection.isUsed) {
      // The engine closed an idle connection while the request was on its way and has not looked at it, or it died
      // with the request. Once more, on a new connection, which tells the two apart.
      this.#isResent = true;
      this.#send(true);
    } else {
      const detail = lastError === "" ? "it closed the connection" : lastError;
      this.#fail({ kind: this.#hasByte ? "broken" : "dropped", detail });
    }
  }

  /** Answers the bytes after the head, or null while it is incomplete. Interim (1xx) heads are skipped. */
  #readHead(bytes: Buffer): Buffer | null {
    this.#headBytes = this.#headBytes.length === 0 ? bytes : Buffer.concat([this.#headBytes, bytes]);
    for (;;) {
      const end = this.#headBytes.indexOf("\r\n\r\n");
      if (end > maxHeadBytes || (end === -1 && this.#headBytes.length > maxHeadBytes))
        throw new MalformedResponse(`the head is larger than ${maxHeadBytes} bytes`);
      if (end === -1) return null;
      const head = parseHead(this.#headBytes.toString("latin1", 0, end));
      this.#headBytes = this.#headBytes.subarray(end + 4);
      if (head.status === 101) throw new MalformedResponse("it changed the protocol unasked");
      if (head.status < 200) continue;
      this.#head = head;
      this.#body = createBodyReader(head.framing);
      this.#events.onHead(head);
      return this.#isOver ? null : this.#headBytes;
    }
  }

  #readBody(bytes: Buffer): void {
    const body = this.#body;
    if (body === null) return;
    body.push(bytes, (piece) => {
      this.#hasBodyByte = true;
      if (!this.#isOver && !this.#events.onBody(piece)) this.#pause();
    });
    if (this.#isOver) return;
    if (body.isDone) this.#finish();
    else if (this.#hasBodyByte) this.#allow(this.#pool.limits.silenceMs);
  }

  #pause(): void {
    if (this.#isPaused || this.#isOver) return;
    this.#isPaused = true;
    this.#connection.socket.pause();
  }

  #finish(): void {
    this.#isOver = true;
    const { socket, unsent } = this.#connection;
    // An answer that came before the whole request was taken leaves bytes that would spoil the next request.
    if (this.#head?.isReusable === true && socket.writableLength === 0 && unsent === "") {
      if (this.#isPaused) socket.resume();
      this.#pool.checkIn(this.#connection);
    } else socket.destroy();
    this.#events.onEnd();
  }

  #fail(failure: CallFailure): void {
    if (this.#isOver) return;
    this.abort();
    this.#events.onFailure(failure);
  }
}
