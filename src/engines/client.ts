/**
 * Control's few requests to a running engine: whether it is ready, and whether it answers. Bounded in time and size. Never
 * logs what comes back.
 */
import { request } from "node:http";
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

/** One token, or one embedding where the model writes no text. */
export async function warmUpEngine(
  target: EngineTarget & { readonly servedName: string },
  timeoutMs: number,
): Promise<Failure | null> {
  const model = target.servedName;
  try {
    const text = await callEngine(
      target,
      "/v1/completions",
      { model, prompt: "Hello", max_tokens: 1, temperature: 0 },
      timeoutMs,
    );
    if (text.status === 200) return null;
    const vector = await callEngine(target, "/v1/embeddings", { model, input: "Hello" }, timeoutMs);
    return vector.status === 200 ? null : warmUpFailure(`answered ${text.status}`);
  } catch (error) {
    const isSlow = error instanceof Error && error.name === "TimeoutError";
    return warmUpFailure(
      isSlow ? `gave no answer in ${timeoutMs / 1000} s` : "broke off the connection instead of answering",
    );
  }
}

function warmUpFailure(how: string): Failure {
  return failure(
    "warm_up_failed",
    `The engine said that it was ready and ${how} when it was asked for its first token.`,
    "See the deployment's logs.",
  );
}
