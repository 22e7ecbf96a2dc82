/**
 * Asks a server that speaks the Hugging Face protocol: one request at a time, redirects followed by hand, every address
 * but the endpoint's own checked by the guard. The token goes to the endpoint and nowhere else. Owns connections and
 * their deadlines; decides nothing about repositories or files, and never logs or repeats a URL.
 */
import { Agent, type Dispatcher, request } from "undici";
import { addressRefused, Hiccup, HubError, unreachable } from "./failures.ts";
import { checkUrl, guardedLookup, RefusedAddressError } from "./guard.ts";

export type ClientOptions = {
  /** Base URL, may have a path. */
  readonly endpoint: string;
  /** Redirects may lead to loopback and private addresses. */
  readonly allowPrivateRedirects: boolean;
  /** Milliseconds for DNS, TCP and TLS together. */
  readonly connectTimeoutMs: number;
  /** Milliseconds until the answer's headers are there. */
  readonly headersTimeoutMs: number;
  /** Milliseconds without a byte of the body. */
  readonly idleTimeoutMs: number;
};

export type Ask = {
  readonly method: "GET" | "HEAD";
  /**
   * Path below the endpoint, encoded, with a leading slash; a full URL that the endpoint itself gave; or the place where
   * an earlier answer came from.
   */
  readonly target: string | Place;
  readonly token: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** False: a redirect to another origin is the answer. */
  readonly leaveEndpoint: boolean;
};

/** Where an answer came from after all redirects: can be asked again directly, for as long as its signature is good. */
export type Place = {
  readonly url: URL;
  /** Every redirect on the way stayed at the endpoint: the token may go there. */
  readonly trusted: boolean;
};

export type Answer = {
  readonly status: number;
  /** One header, null when it was not sent. */
  header(name: string): string | null;
  /** One header of the endpoint's own answer, which may have been a redirect to where the rest came from. */
  firstHeader(name: string): string | null;
  readonly place: Place;
  /** True when another place than the one first asked answered. */
  readonly redirected: boolean;
  /** The bytes; fails with a Hiccup when the connection does. Must be read, discarded or closed. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads a short rest so that the connection can be used again. */
  discard(): Promise<void>;
  /** Breaks the connection off. */
  close(): void;
};

const maxRedirects = 5;
/** Bytes of a refused answer that are read so that its connection can be used again. */
const discardLimit = 64 * 1024;

/** Has two connection pools: a trusting one for the endpoint, a guarded one for wherever it redirects. */
export class HubClient {
  /** `base` is the origin and the path before every other path, without a slash at its end. */
  readonly endpoint: { readonly host: string; readonly origin: string; readonly base: string };
  readonly #allowPrivate: boolean;
  readonly #trusting: Agent;
  readonly #guarded: Agent;

  constructor(options: ClientOptions) {
    const { host, origin, pathname } = new URL(options.endpoint);
    this.endpoint = { host, origin, base: `${origin}${pathname.replace(/\/+$/, "")}` };
    this.#allowPrivate = options.allowPrivateRedirects;
    const timeouts = { headersTimeout: options.headersTimeoutMs, bodyTimeout: options.idleTimeoutMs };
    const timeout = options.connectTimeoutMs;
    const lookup = guardedLookup(options.allowPrivateRedirects);
    // Over HTTP/2 all ranges of a file would share one connection, and with it one server's limit.
    this.#trusting = new Agent({ ...timeouts, allowH2: false, connect: { timeout } });
    this.#guarded = new Agent({ ...timeouts, allowH2: false, connect: { timeout, lookup } });
  }

  /** Throws Hiccup for what may pass, HubError for a refused address or a redirect that leads nowhere. */
  async ask(question: Ask, signal: AbortSignal): Promise<Answer> {
    let { url, trusted } = this.#placeOf(question.target);
    let first: Dispatcher.ResponseData | null = null;
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      const atEndpoint = url.origin === this.endpoint.origin;
      // Once an answer led elsewhere, the token stays at home even if the way leads back.
      trusted &&= atEndpoint;
      if (!atEndpoint) this.#refuseUnsafe(url);
      const pool = atEndpoint ? this.#trusting : this.#guarded;
      const response = await this.#dispatch(url, question, trusted, pool, signal);
      first ??= response;
      const next = redirectOf(response, url);
      if (next === null || (next.origin !== this.endpoint.origin && !question.leaveEndpoint)) {
        return answerOf(response, first, { url, trusted }, hop > 0, signal);
      }
      await discardBody(response.body, signal);
      if (url.protocol === "https:" && next.protocol !== "https:") {
        throw addressRefused(next.host, "would not be asked over TLS");
      }
      url = next;
    }
    throw unreachable(this.endpoint.host, "redirects in a loop", 1);
  }

  #placeOf(target: string | Place): Place {
    if (typeof target !== "string") return target;
    const url = target.startsWith("/") ? `${this.endpoint.base}${target}` : target;
    return { url: new URL(url), trusted: true };
  }

  #refuseUnsafe(url: URL): void {
    try {
      checkUrl(url, this.#allowPrivate);
    } catch (error) {
      throw error instanceof RefusedAddressError ? addressRefused(url.host, error.why) : error;
    }
  }

  async #dispatch(
    url: URL,
    question: Ask,
    trusted: boolean,
    dispatcher: Dispatcher,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const headers: Record<string, string> = {
      "user-agent": "berth",
      "accept-encoding": "identity",
      ...question.headers,
    };
    if (trusted && question.token !== null) headers.authorization = `Bearer ${question.token}`;
    try {
      return await request(url.href, { method: question.method, headers, dispatcher, signal });
    } catch (error) {
      throw explain(error, url.host, signal);
    }
  }
}

function redirectOf(response: Dispatcher.ResponseData, from: URL): URL | null {
  if (![301, 302, 303, 307, 308].includes(response.statusCode)) return null;
  const location = response.headers.location;
  if (typeof location !== "string" || !URL.canParse(location, from.href)) return null;
  return new URL(location, from);
}

function answerOf(
  response: Dispatcher.ResponseData,
  first: Dispatcher.ResponseData,
  place: Place,
  redirected: boolean,
  signal: AbortSignal,
): Answer {
  return {
    status: response.statusCode,
    redirected,
    place,
    header: (name) => headerOf(response, name),
    firstHeader: (name) => headerOf(first, name),
    body: readBody(response.body, signal),
    discard: () => discardBody(response.body, signal),
    // A body that ends before its time says so with an error, which is what was wanted here.
    close: () => void response.body.on("error", () => undefined).destroy(),
  };
}

function headerOf(response: Dispatcher.ResponseData, name: string): string | null {
  const value = response.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

async function* readBody(body: Dispatcher.ResponseData["body"], signal: AbortSignal) {
  const chunks: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      let step: IteratorResult<Uint8Array>;
      try {
        step = await chunks.next();
      } catch (error) {
        throw explain(error, "", signal);
      }
      if (step.done === true) return;
      yield step.value;
    }
  } finally {
    // Left early (wrong length, abort, full disk): the connection is of no more use.
    body.destroy();
  }
}

async function discardBody(body: Dispatcher.ResponseData["body"], signal: AbortSignal): Promise<void> {
  try {
    await body.dump({ limit: discardLimit, signal });
  } catch (error) {
    throw explain(error, "", signal);
  }
}

/** Says in plain words what happened to a connection; the abort of the caller stays the caller's own reason. */
export function explain(error: unknown, host: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof HubError || cause instanceof Hiccup) return cause;
    if (cause instanceof RefusedAddressError) return addressRefused(host, cause.why);
  }
  const code = codeOf(error);
  return new Hiccup(networkReasons[code] ?? `could not be asked (${code})`);
}

function codeOf(error: unknown): string {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (typeof code === "string") return code;
    // Both address families failed: the first failure speaks for them.
    if (cause instanceof AggregateError) return codeOf(cause.errors[0]);
  }
  return "unknown reason";
}

const networkReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused the connection",
  ECONNRESET: "broke the connection off",
  EPIPE: "broke the connection off",
  UND_ERR_SOCKET: "broke the connection off",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "sent less than it announced",
  ETIMEDOUT: "did not answer",
  EHOSTUNREACH: "cannot be reached from this machine",
  ENETUNREACH: "cannot be reached from this machine",
  UND_ERR_CONNECT_TIMEOUT: "did not accept a connection in time",
  UND_ERR_HEADERS_TIMEOUT: "did not answer in time",
  UND_ERR_BODY_TIMEOUT: "stopped sending",
  ENOTFOUND: "is a name that DNS does not know",
  EAI_AGAIN: "could not be looked up in DNS",
  CERT_HAS_EXPIRED: "has an expired certificate",
  DEPTH_ZERO_SELF_SIGNED_CERT: "has a self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "has a certificate from an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "has a certificate from an unknown authority",
  ERR_TLS_CERT_ALTNAME_INVALID: "has a certificate for another name",
};
