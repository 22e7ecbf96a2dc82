/**
 * What a face is: one API's way to ask for inference and to be answered. A face turns a client's body into one internal
 * request in the OpenAI form that engines speak, and the engine's answer back. It is all that differs between the APIs:
 * who may call, slots, retries, time limits and metering are inference.ts's and the same for all. Must not do I/O but
 * through the response it is given.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { RouteModel } from "../../core/routing.ts";
import type { TokenPrices, TokenUsage, UsageKind } from "../../core/usage.ts";
import type { HttpError } from "../../schema/errors.ts";
import type { HttpResponse } from "../http/response.ts";
import type { ResponseHead } from "../response-head.ts";

/** Paths that engines serve. */
export type EnginePath =
  | "/v1/chat/completions"
  | "/v1/completions"
  | "/v1/embeddings"
  | "/tokenize"
  | "/detokenize";

/** priority goes before default, default before flex. */
export type ServiceTier = "default" | "priority" | "flex";

export type FaceInput = {
  /** The path without its query, trailing slashes cut. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Inflated, within the limit. */
  readonly body: Buffer;
  readonly requestId: string;
  readonly nowMs: number;
};

/** A client's request, understood. */
export type Asked = {
  /** Model selectors in the client's order; the first that names a model it may use and that can serve is taken. */
  readonly selectors: readonly string[];
  readonly enginePath: EnginePath;
  readonly kind: UsageKind;
  readonly tier: ServiceTier;
  /** Answer 429 at once rather than wait for a slot. */
  readonly failFast: boolean;
  /** The client wants its answer piece by piece. */
  readonly isStream: boolean;
  /**
   * The body for the engine of this model; throws HttpError `unsupported_parameter` where the model's abilities do not
   * cover what is asked. Called once for each model that is tried, not for each instance.
   */
  bodyFor(model: RouteModel, selector: string): Buffer;
  /**
   * Opens the answer to the client. Called once for each model that is tried: a second one follows only where the one
   * before has sent nothing.
   */
  reply(response: HttpResponse, about: ReplyAbout): Reply;
  /** The client wants to be answered at once that it is queued, and the answer to be posted elsewhere. */
  readonly delivery?: Delivery;
};

/** An answer that goes to a URL of the client's choice. The engine is asked for an answer that is no stream. */
export type Delivery = {
  readonly url: string;
  /** What the client is told at once. */
  readonly queued: unknown;
  /** What is posted in the end. `answer` throws HttpError when it cannot be understood. */
  answer(about: ReplyAbout, json: unknown, usage: TokenUsage): unknown;
  failure(about: ReplyAbout, error: HttpError): unknown;
};

export type ReplyAbout = {
  readonly model: RouteModel;
  /** The one of `Asked.selectors` that named the model. */
  readonly selector: string;
  readonly prices: TokenPrices;
  readonly requestId: string;
  readonly startedAtMs: number;
  now(): number;
};

/**
 * The answer to one client. Nothing is sent before the first part worth sending, so that a failure before it is an
 * ordinary error; after it a stream ends in the face's own error event.
 */
export type Reply = {
  /** The client has been sent something: the status can no longer change. */
  readonly hasStarted: boolean;
  /** Bytes of the body that were passed on. */
  readonly sentBytes: number;
  /** What the engine has said of tokens so far; null when nothing. */
  readonly usage: TokenUsage | null;
  /**
   * A comment to a client that waits for its stream, which starts the answer: an engine's error that follows is an event.
   * Only called where `Asked.isStream`, before `begin`.
   */
  keepAlive(): void;
  /** The head of the engine's answer. Its body may be an engine's error in OpenAI's envelope. */
  begin(head: ResponseHead): void;
  /** A piece of the engine's body. False when the client has fallen behind: wait for the response's `onDrain`. */
  write(piece: Buffer): boolean;
  /** The engine's answer is complete. Throws HttpError when it cannot be understood. */
  end(): void;
  /** Ends in an error, in the clearest way that is still possible. */
  fail(error: HttpError): void;
  /** Ends without another word: the client does not take what it is sent. */
  cut(): void;
};

/** The body of an error in the shape that a path is known for. */
export type ErrorBody = (error: HttpError, requestId: string) => unknown;

export type Face = {
  readonly name: "openai" | "anthropic" | "native" | "responses";
  /** Reads a request; throws HttpError for what it refuses. */
  read(input: FaceInput): Asked;
  /** The body of an error in this face's envelope; `status` is the error's own. */
  readonly errorBody: ErrorBody;
};
