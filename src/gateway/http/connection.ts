/**
 * One client's connection: its requests one after another, each answered before the next is read. Owns the socket, its
 * backpressure both ways, its time limits and its end; must not read HTTP (request-reader.ts) nor decide an answer.
 *
 * | phase   | what is waited for                        | limit                                   |
 * |---------|-------------------------------------------|-----------------------------------------|
 * | idle    | a first byte                              | idleMs: closed without a word           |
 * | head    | the rest of a head                        | headMs since its first byte: 408        |
 * | body    | the rest of a body; an answer may be under way | uploadMs since that byte: 408      |
 * | answer  | the rest of the answer                    | none; once written, silenceMs between two moves of the client |
 * | closing | the client's end, what it still sends is dropped | lingerMs, lingerBytes: cut       |
 *
 * A client that ends its side may have left, or only have no more to ask. Which one is found out by writing to it (`#askWhetherLeft`).
 *
 * Time is counted in the server's sweeps: a look at the clock, or a timer, for each connection would cost more.
 */
import type { Socket } from "node:net";
import { HttpError, openAiError } from "../../schema/errors.ts";
import type { TurnEnd } from "../turn-end.ts";
import { Refusal } from "./refusal.ts";
import { HttpRequest } from "./request.ts";
import type { RequestHead } from "./request-head.ts";
import { type RequestEvents, RequestReader } from "./request-reader.ts";
import { HttpResponse, type Wire } from "./response.ts";

/** What a connection has of its server. */
export type ConnectionHost = {
  /** Sweeps so far. */
  readonly sweeps: number;
  /** How often this process has stood still so far. */
  readonly sleeps: number;
  /** How many sweeps it takes until these milliseconds have surely passed. */
  sweepsFor(ms: number): number;
  readonly limits: ConnectionLimits;
  /** Connections are closed with their answers. */
  readonly isClosing: boolean;
  readonly dateLine: string;
  readonly keptLines: string;
  readonly turnEnd: TurnEnd;
  onRequest(request: HttpRequest, response: HttpResponse): void;
  onGone(connection: Connection): void;
};

/** All times in milliseconds. */
export type ConnectionLimits = {
  readonly idleMs: number;
  readonly headMs: number;
  readonly uploadMs: number;
  readonly silenceMs: number;
};

/**
 * Closing at once would reset the connection of a client that is still sending, and it would see a broken connection
 * instead of the answer. So what it sends is dropped for a while.
 */
const lingerMs = 5000;
const lingerBytes = 128 * 1024 * 1024;

/** When who was turned away may ask again. */
const retryAfterS = 2;

/** Bytes that are read ahead of an answer: within them a client that leaves is noticed, and no client can fill memory. */
const maxHeldBytes = 65_536;

/**
 * When it is asked again whether a client that has ended its side has left: a reset takes a round trip, and is seen by the
 * next write alone. Some clients take no more than five interim answers.
 */
const askAgainMs = [20, 80, 400];

/** Characters that wait for the end of a turn at most: a client that has fallen behind is to be noticed. */
const maxUnsent = 65_536;

type Phase = "idle" | "head" | "body" | "answer" | "closing";

export class Connection implements Wire, RequestEvents {
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  /** Asked for with the first request: many connections never bring one. */
  #remoteAddress: string | null = null;
  #phase: Phase = "idle";
  /** The sweep that finds that it has waited too long. */
  #lastSweep = 0;
  /** The sweep at which the request under way began. */
  #beganAt = 0;
  #reader: RequestReader | null = null;
  #request: HttpRequest | null = null;
  #response: HttpResponse | null = null;
  /** The request under way has not been handed on: what came with its head is read first. */
  #isNew = false;
  /** What has come behind the request under way. */
  #held: Buffer | null = null;
  /** The client has ended its side: what it has asked for is answered, and nothing more comes. */
  #hasEnded = false;
  #droppedBytes = 0;
  #isFlushing = false;
  /** How often this process had stood still when the client's time to take the rest began. */
  #sleepsBefore = 0;
  /** Text for the client that waits for the end of the turn. */
  #unsent = "";
  #isUnsent = false;
  /** The end of the answer is in it. */
  #isLastUnsent = false;

  constructor(socket: Socket, host: ConnectionHost) {
    this.#socket = socket;
    this.#host = host;
    this.#enter("idle", host.limits.idleMs);
    socket.on("data", (bytes) => this.#take(bytes));
    socket.on("drain", () => this.#response?.onDrain?.());
    socket.on("end", () => this.#takeEnd());
    socket.on("error", () => undefined); // "close" follows and is what counts
    socket.on("close", () => this.#takeClose());
  }

  /** Called at every sweep of the server. */
  sweep(): void {
    if (this.#host.sweeps < this.#lastSweep) return;
    if (this.#phase === "head" || this.#phase === "body") {
      this.#refuse(new Refusal(408, "The request did not come in time. Send it without long pauses."));
    } else if (this.#phase !== "answer") this.destroy();
  }

  /** Tells the client, before it has asked anything, that there are as many as there may be. */
  turnAway(): void {
    const text = "As many clients are connected to this Berth as may be. Try again in a moment.";
    this.#refuse(new Refusal(503, text));
  }

  /** Closes it where it waits for a request. */
  closeIfIdle(): void {
    if (this.#phase === "idle" && this.#held === null) this.#close();
  }

  destroy(): void {
    this.flush();
    this.#socket.destroy();
  }

  // What the answer under way needs of it.

  get dateLine(): string {
    return this.#host.dateLine;
  }

  get keptLines(): string {
    return this.#host.keptLines;
  }

  write(text: string, isLast: boolean): boolean {
    if (!this.#isUnsent) {
      this.#isUnsent = true;
      this.#host.turnEnd.add(this);
    }
    this.#unsent += text;
    if (isLast) this.#isLastUnsent = true;
    if (this.#unsent.length > maxUnsent) this.flush();
    // What waits for the turn's end does not count: only where the socket says so does its "drain" follow for sure.
    return !this.#socket.writableNeedDrain;
  }

  writeLarge(before: string, bytes: Buffer, after: string, isLast: boolean): boolean {
    const socket = this.#socket;
    socket.cork();
    this.#unsent += before;
    this.flush();
    socket.write(bytes);
    const isTaken = this.write(after, isLast);
    this.flush();
    socket.uncork();
    return isTaken;
  }

  /** Hands over what waits for the end of the turn. */
  flush(): void {
    const text = this.#unsent;
    const isLast = this.#isLastUnsent;
    this.#isUnsent = false;
    this.#isLastUnsent = false;
    this.#unsent = "";
    if (this.#socket.destroyed) return;
    if (isLast) {
      this.#socket.write(text, "latin1", this.#flushed);
      this.#watchFlush();
    } else if (text !== "") this.#socket.write(text, "latin1");
  }

  // What the request under way needs of it.

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  // What the reader tells.

  onHead(head: RequestHead): void {
    this.#remoteAddress ??= this.#socket.remoteAddress ?? "";
    this.#request = new HttpRequest(head, this.#remoteAddress, this);
    this.#response = new HttpResponse(this, this.#request);
    this.#isNew = true;
    this.#phase = "body";
    this.#lastSweep = this.#beganAt + this.#host.sweepsFor(this.#host.limits.uploadMs);
  }

  onPiece(piece: Buffer): void {
    this.#request?.push(piece);
  }

  onEnd(): void {
    this.#phase = "answer";
    this.#lastSweep = Number.POSITIVE_INFINITY;
    this.#request?.complete();
  }

  #enter(phase: Phase, ms: number): void {
    this.#phase = phase;
    this.#lastSweep = this.#host.sweeps + this.#host.sweepsFor(ms);
  }

  #take(bytes: Buffer): void {
    if (this.#phase === "closing") this.#drop(bytes);
    else if (this.#phase === "answer" || this.#held !== null) this.#hold(bytes);
    else this.#read(bytes);
  }

  #read(bytes: Buffer): void {
    if (this.#phase === "idle") {
      this.#beganAt = this.#host.sweeps;
      this.#enter("head", this.#host.limits.headMs);
    }
    this.#reader ??= new RequestReader(this);
    try {
      const end = this.#reader.read(bytes, 0);
      if (end < bytes.length) this.#hold(bytes.subarray(end));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refuse(error);
      return;
    }
    if (!this.#isNew || this.#request === null || this.#response === null) return;
    this.#isNew = false;
    this.#host.onRequest(this.#request, this.#response);
  }

  #hold(bytes: Buffer): void {
    this.#held = this.#held === null ? bytes : Buffer.concat([this.#held, bytes]);
    if (this.#held.length > maxHeldBytes) this.#socket.pause();
  }

  /** Read on with what has come meanwhile. Not at once, so that nobody who pipelines keeps others waiting. */
  #readHeld(): void {
    setImmediate(() => {
      const held = this.#held;
      if (held === null || this.#socket.destroyed) return;
      this.#held = null;
      this.#socket.resume();
      this.#read(held);
      if (this.#hasEnded) this.#takeEnd();
    });
  }

  /** The last of an answer has gone out; with an error, "close" follows and tells. */
  readonly #flushed = (error?: Error | null): void => {
    const response = this.#response;
    if (error || response === null) return;
    if (this.#isFlushing) this.#socket.setTimeout(0, this.#stalled);
    this.#isFlushing = false;
    const goesOn = response.keepsAlive && this.#phase === "answer" && !this.#host.isClosing;
    this.#request = null;
    this.#response = null;
    if (goesOn) this.#enter("idle", this.#host.limits.idleMs);
    else this.#close();
    response.close(true);
    if (goesOn && this.#held !== null) this.#readHeld();
  };

  /** Nothing waits for a complete answer but its client: one that never takes it must not keep it in memory for ever. */
  #watchFlush(): void {
    if (this.#isFlushing || this.#socket.writableLength === 0) return;
    this.#isFlushing = true;
    this.#allowSilence();
  }

  #allowSilence(): void {
    this.#sleepsBefore = this.#host.sleeps;
    this.#socket.setTimeout(this.#host.limits.silenceMs, this.#stalled);
  }

  readonly #stalled = (): void => {
    // It may have taken all of it while this process stood still, which has not been seen yet: it has as long once more.
    if (this.#host.sleeps === this.#sleepsBefore) this.destroy();
    else this.#allowSilence();
  };

  /** Says why, where nothing was said yet, and closes. */
  #refuse({ status, message }: Refusal): void {
    const response = this.#response;
    if (response?.headersSent === true) {
      this.destroy();
      return;
    }
    const refusal = new HttpResponse(this, refusedRequest);
    const code = status === 503 ? "overloaded" : "bad_request";
    const body = Buffer.from(JSON.stringify(openAiError(new HttpError(code, message))));
    const retry = status === 503 ? ["retry-after", String(retryAfterS)] : [];
    refusal.keepsAlive = false;
    refusal.send(status, ["content-type", "application/json", ...retry], body);
    this.#close();
    this.#request = null;
    this.#response = null;
    response?.close(false);
  }

  /** Ends our side; the client's end, or the sweep, ends the rest. */
  #close(): void {
    this.#held = null;
    this.#enter("closing", lingerMs);
    this.flush();
    this.#socket.end();
    this.#socket.resume();
  }

  #drop(bytes: Buffer): void {
    this.#droppedBytes += bytes.length;
    if (this.#droppedBytes > lingerBytes) this.destroy();
  }

  /** The client has ended its side. What it has asked for whole it may still wait for. */
  #takeEnd(): void {
    this.#hasEnded = true;
    const response = this.#response;
    if (response !== null && this.#held === null) response.keepsAlive = false;
    if (this.#phase === "head" || this.#phase === "body") this.destroy();
    else if (this.#phase === "idle" && this.#held === null) this.#close();
    else if (response !== null && !response.isEnded) this.#askWhetherLeft(response);
  }

  /**
   * A client that still listens and one that was closed look alike until something is written: the system of the second one
   * answers with a reset. Clients pass over interim answers, so one is written where it can be. Where it cannot, within an
   * answer or to an old client, it counts as one that has left: nearly all have, and its place must not wait for a next token.
   */
  #askWhetherLeft(response: HttpResponse): void {
    if (!response.writeInterim()) {
      this.destroy();
      return;
    }
    for (const ms of askAgainMs)
      setTimeout(() => {
        if (response === this.#response) response.writeInterim();
      }, ms).unref();
  }

  #takeClose(): void {
    this.#host.onGone(this);
    this.#response?.close(false);
  }
}

const refusedRequest = new HttpRequest(
  {
    ...{ method: "GET", target: "", isOldVersion: false, lines: [], headers: {} },
    ...{ bodyBytes: 0, keepsAlive: false, expectsContinue: false },
  },
  "",
  { pause: () => undefined, resume: () => undefined },
);
