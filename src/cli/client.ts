/**
 * Speaks to a Berth over its HTTP API, and turns everything that can go wrong into one sentence with an exit code.
 * The only file of the command line that sends requests to Berth. Must not know commands, nor print.
 */
import type { z } from "zod";
import { type ApiToken, isLoopback } from "./credentials.ts";
import { CliError, exitCodes } from "./exit.ts";
import { plain } from "./terminal.ts";

export type RequestOptions = {
  readonly body?: unknown;
  /** Ends the request; its reason is thrown as it is. */
  readonly signal?: AbortSignal;
  /** True for an answer that may take its time, as a model's does. */
  readonly isPatient?: boolean;
};

export type Client = {
  /** Address of the Berth, without a trailing slash. */
  readonly url: string;
  /** What is sent as bearer; null when none was found. Looked for once, at first use. */
  token(): Promise<ApiToken | null>;
  /**
   * Sends a request and checks the answer against `schema`.
   * @throws CliError that says what happened and what to do; its exit code follows the status
   */
  call<T>(method: Method, path: string, schema: z.ZodType<T>, options?: RequestOptions): Promise<T>;
  /** Sends a request whose answer is a stream without end, and returns its bytes. Both throw as `call` does. */
  stream(method: Method, path: string, options?: RequestOptions): Promise<AsyncIterable<Uint8Array>>;
  /** True when something at the address answers `path` with success; never throws. */
  answers(path: string, signal: AbortSignal): Promise<boolean>;
};

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Longest wait for an answer of the control API. Streams have no such limit. */
const answerTimeoutMs = 30_000;
/** Largest answer that is read, in bytes: 1000 log lines of the largest size stay well below. */
const maxAnswerBytes = 64 * 1024 * 1024;

/** @param url checked by `readUrl` */
export function createClient(
  url: URL,
  findToken: () => Promise<ApiToken | null>,
  fetchFn: typeof fetch,
): Client {
  const base = url.href.replace(/\/+$/, "");
  let found: Promise<ApiToken | null> | undefined;
  const token = () => {
    found ??= findToken();
    return found;
  };

  async function send(
    method: Method,
    path: string,
    options: RequestOptions,
    bearer: ApiToken | null,
  ): Promise<Response> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (bearer !== null) headers.authorization = `Bearer ${bearer.secret}`;
    if (options.body !== undefined) headers["content-type"] = "application/json";
    try {
      return await fetchFn(base + path, {
        method,
        headers,
        redirect: "manual",
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      throw new CliError(exitCodes.unreachable, describeNoAnswer(base, error));
    }
  }

  async function stream(
    method: Method,
    path: string,
    options: RequestOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const bearer = await token();
    const response = await send(method, path, options, bearer);
    const pieces = readPieces(response, base, options.signal);
    if (response.ok) return pieces;
    throw describeRefusal(response.status, await readText(pieces, base), base + path, bearer);
  }

  async function call<T>(
    method: Method,
    path: string,
    schema: z.ZodType<T>,
    options: RequestOptions = {},
  ): Promise<T> {
    const timeout = options.isPatient === true ? null : AbortSignal.timeout(answerTimeoutMs);
    const signals = [options.signal, timeout].filter((signal) => signal instanceof AbortSignal);
    try {
      const signal = AbortSignal.any(signals);
      const text = await readText(await stream(method, path, { ...options, signal }), base);
      const parsed = schema.safeParse(parseJson(text));
      if (parsed.success) return parsed.data;
    } catch (error) {
      if (timeout === null || error !== timeout.reason) throw error;
      const waited = `${answerTimeoutMs / 1000} seconds`;
      throw new CliError(
        exitCodes.unreachable,
        `${base} took the connection but gave no answer for ${waited}.`,
      );
    }
    throw new CliError(exitCodes.failed, notABerth(base + path));
  }

  return {
    url: base,
    token,
    call,
    stream,
    async answers(path, signal) {
      try {
        const response = await send("GET", path, { signal }, null);
        await response.body?.cancel();
        return response.ok;
      } catch {
        // Any reason means the same here: it does not answer.
        return false;
      }
    },
  };
}

/** Checks `--url`, BERTH_URL or the default. A path is allowed, for a Berth behind a proxy. */
export function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new CliError(exitCodes.usage, `The address ${plain(text)} is not of the form http://host:port.`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new CliError(
      exitCodes.usage,
      "The address must not hold a user or a password; use BERTH_API_TOKEN.",
    );
  }
  return url;
}

/** The system's code of a failed connection, for example "ECONNREFUSED"; "" when it has none. */
export function connectionCode(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === "string" ? cause.code : "";
}

function describeNoAnswer(base: string, error: unknown): string {
  const code = connectionCode(error);
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/.test(code)) {
    return `The certificate of ${base} is not trusted here (${code}). Set NODE_EXTRA_CA_CERTS to the file of its authority.`;
  }
  const reasons: Record<string, string> = {
    ECONNREFUSED: "connection refused",
    ENOTFOUND: "no such host",
    EAI_AGAIN: "the name cannot be resolved now",
    ETIMEDOUT: "timed out",
    UND_ERR_CONNECT_TIMEOUT: "timed out",
    ECONNRESET: "connection reset",
    UND_ERR_SOCKET: "connection closed",
  };
  const reason = reasons[code] ?? (code === "" ? "no connection" : code);
  return `No Berth answers at ${base} (${reason}). Start one with \`berth serve\`, or name another with --url or BERTH_URL.`;
}

function describeRefusal(status: number, body: string, address: string, token: ApiToken | null): CliError {
  const url = new URL(address);
  const said = readErrorText(parseJson(body));
  if (status === 401) {
    const what =
      token === null
        ? `${url.origin} wants a token and none was found.`
        : `${url.origin} does not accept the token from ${token.from}.`;
    const next = isLoopback(url)
      ? "Set BERTH_API_TOKEN, or BERTH_HOME to the folder that this Berth uses."
      : "Set BERTH_API_TOKEN to a token of that Berth.";
    return new CliError(exitCodes.denied, `${what} ${next}`);
  }
  if (said === null) {
    return new CliError(
      status === 502 || status === 503 || status === 504 ? exitCodes.unreachable : exitCodes.failed,
      `${notABerth(address)} (HTTP ${status})`,
    );
  }
  const code =
    status === 403
      ? exitCodes.denied
      : status === 404
        ? exitCodes.notFound
        : status === 503
          ? exitCodes.unreachable
          : exitCodes.failed;
  return new CliError(code, said);
}

/** The sentence in any of the error shapes a Berth or a server like it sends; null when there is none. */
export function readErrorText(body: unknown): string | null {
  if (typeof body !== "object" || body === null) return null;
  const { error, detail } = body as { error?: unknown; detail?: unknown };
  if (typeof error === "string" && error !== "") return plain(error);
  if (
    typeof error === "object" &&
    error !== null &&
    "message" in error &&
    typeof error.message === "string"
  ) {
    return plain(error.message);
  }
  if (typeof detail === "string" && detail !== "") return plain(detail);
  if (Array.isArray(detail)) {
    const lines = detail.flatMap((entry: unknown) => {
      if (typeof entry !== "object" || entry === null || !("msg" in entry)) return [];
      const loc = "loc" in entry && Array.isArray(entry.loc) ? entry.loc.slice(1).join(".") : "";
      return [`${loc === "" ? "" : `${loc}: `}${String(entry.msg)}`];
    });
    if (lines.length > 0) return plain(lines.join("; "));
  }
  return null;
}

function notABerth(address: string): string {
  return `${address} answered with something a Berth of this version does not send. Is a Berth at that address?`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is an expected outcome: no schema accepts `undefined`, and there is no error text in it.
    return undefined;
  }
}

/** The bytes of an answer; a connection that breaks is told apart from a request that was ended here. */
async function* readPieces(
  response: Response,
  base: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response.body ?? new Blob([]).stream()) yield piece;
  } catch {
    signal?.throwIfAborted();
    throw new CliError(
      exitCodes.unreachable,
      `The connection to ${base} broke off in the middle of an answer.`,
    );
  }
}

async function readText(pieces: AsyncIterable<Uint8Array>, base: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.byteLength;
    if (bytes > maxAnswerBytes) {
      throw new CliError(exitCodes.failed, `An answer of ${base} is larger than ${maxAnswerBytes} bytes.`);
    }
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}
