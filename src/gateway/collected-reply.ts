/**
 * An engine's answer that is collected for a webhook rather than sent to the client that asked. Owns the bound on it;
 * must not know what the answer says.
 */
import { isUtf8 } from "node:buffer";
import type { TokenUsage } from "../core/usage.ts";
import { HttpError } from "../schema/errors.ts";
import { readEngineError, readUsage } from "./faces/engine-answer.ts";
import type { Delivery, Reply, ReplyAbout } from "./faces/face.ts";
import type { ResponseHead } from "./response-head.ts";

/** Largest answer that is posted, in bytes. */
const maxBytes = 32 * 1024 * 1024;

export class CollectedReply implements Reply {
  readonly hasStarted = false;
  readonly #delivery: Delivery;
  readonly #about: ReplyAbout;
  #status = 502;
  #held: Buffer[] = [];
  sentBytes = 0;
  usage: TokenUsage | null = null;
  /** What is to be posted; null while there is none. */
  result: unknown = null;

  constructor(delivery: Delivery, about: ReplyAbout) {
    this.#delivery = delivery;
    this.#about = about;
  }

  keepAlive(): void {
    // Nobody waits.
  }

  begin(head: ResponseHead): void {
    this.#status = head.status;
    this.#held = [];
    this.sentBytes = 0;
  }

  write(piece: Buffer): boolean {
    this.sentBytes += piece.length;
    if (this.sentBytes > maxBytes) throw unreadable("is too long");
    this.#held.push(piece);
    return true;
  }

  end(): void {
    const json = parse(Buffer.concat(this.#held));
    if (this.#status !== 200) {
      this.fail(readEngineError(json, this.#status) ?? unreadable("cannot be understood"));
      return;
    }
    this.usage = readUsage(json);
    const usage = this.usage ?? { inputTokens: 0, outputTokens: 0, cachedTokens: 0 };
    this.result = this.#delivery.answer(this.#about, json, usage);
  }

  fail(error: HttpError): void {
    this.result = this.#delivery.failure(this.#about, error);
  }

  cut(): void {
    this.fail(unreadable("did not come in time"));
  }
}

function parse(bytes: Buffer): unknown {
  try {
    if (isUtf8(bytes)) return JSON.parse(bytes.toString("utf8"));
  } catch {
    // said below
  }
  throw unreadable("cannot be understood");
}

function unreadable(why: string): HttpError {
  return new HttpError("engine_failed", `The engine's answer ${why}.`);
}
