/**
 * Control's few requests to a running engine: whether it is ready, and whether it answers. Bounded in time and size. Never
 * logs what comes back.
 */
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Failure, failure } from "../core/failure.ts";
import type { Endpoint } from "../core/instance.ts";

/** Bytes of an answer that are read: a health report, a token, one embedding. */
const largestAnswer = 1_048_576;

export type EngineTarget = { readonly endpoint: Endpoint; readonly secret: string };

export type EngineAnswer = { readonly status: number; readonly text: string };

/** Rejects when no whole answer comes in time. GET where there is no body. */
export function callEngine(
  { endpoint, secret }: EngineTarget,
  path: string,
  body: unknown,
  timeoutMs: number,
): Promise<EngineAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      ...(endpoint.kind === "unix"
        ? { socketPath: endpoint.path }
        : { host: endpoint.host, port: endpoint.port }),
      path,
      method: body === null ? "GET" : "POST",
      headers: {
        authorization: `Bearer ${secret}`,
        ...(body === null ? {} : { "content-type": "application/json" }),
      },
      signal: AbortSignal.timeout(timeoutMs),
      agent: false,
    });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("error", reject);
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > largestAnswer) response.destroy(new Error("The engine's answer is too long."));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    outgoing.end(body === null ? undefined : JSON.stringify(body));
  });
}

/** An engine whose slots are all taken is asked again after this long. */
const busyPauseMs = 200;

/**
 * One token, or one embedding where the model writes no text: health alone is what an engine says of itself. What comes must be
 * an answer in form. An engine that is busy (503) is asked again until the time is over.
 */
export async function warmUpEngine(
  target: EngineTarget & { readonly servedName: string },
  timeoutMs: number,
): Promise<Failure | null> {
  const model = target.servedName;
  const endMs = performance.now() + timeoutMs;
  const leftMs = () => Math.max(1, Math.ceil(endMs - performance.now()));
  const ask = (path: string, body: object) => callEngine(target, path, { model, ...body }, leftMs());
  try {
    for (;;) {
      const text = await ask("/v1/completions", { prompt: "Hello", max_tokens: 1, temperature: 0 });
      if (text.status === 200) return holds(text.text, "choices", "text") ? null : warmUpFailure(nonsense);
      if (text.status !== 503) break;
      if (leftMs() <= busyPauseMs) return warmUpFailure(`had no room for ${timeoutMs / 1000} s`);
      await sleep(busyPauseMs);
    }
    const vector = await ask("/v1/embeddings", { input: "Hello" });
    if (vector.status !== 200) return warmUpFailure(`answered with status ${vector.status}`);
    return holds(vector.text, "data", "embedding") ? null : warmUpFailure(nonsense);
  } catch (error) {
    const isSlow = error instanceof Error && (error.cause as Error | undefined)?.name === "TimeoutError";
    return warmUpFailure(
      isSlow ? `gave no answer in ${timeoutMs / 1000} s` : "broke off the connection instead of answering",
    );
  }
}

const nonsense = "answered with something that is no answer";

/** A JSON object with a list under `list`, whose first item has `field`. */
function holds(json: string, list: "choices" | "data", field: "text" | "embedding"): boolean {
  try {
    const { [list]: items } = JSON.parse(json) as Record<string, unknown>;
    const first: unknown = Array.isArray(items) ? items[0] : null;
    return typeof first === "object" && first !== null && field in first;
  } catch {
    return false; // Not JSON, or not an object.
  }
}

function warmUpFailure(how: string): Failure {
  return failure(
    "warm_up_failed",
    `The engine says that it is well, but it ${how} when it was asked for one token.`,
    "The deployment's logs have its last lines; the arguments or the model may be at fault.",
  );
}
