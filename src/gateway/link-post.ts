/** One message to control on the internal socket, answered by its status alone. Must not interpret either. */
import { type Agent, request as httpRequest } from "node:http";

export type LinkPost = {
  /** Unix socket of control's internal protocol. */
  readonly linkSocket: string;
  readonly agent: Agent;
  readonly path: string;
  /** JSON. */
  readonly body: string;
  /** Time without a byte after which control counts as away, milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
};

/** Control answered, and its answer was no. */
export class ControlRefused extends Error {
  readonly status: number;

  constructor(path: string, status: number) {
    super(`control answered ${path} with ${status}`);
    this.status = status;
  }
}

/** Resolves when control has said yes (2xx); rejects when it says no, or nothing. */
export function postToControl({ linkSocket, agent, path, body, timeoutMs, signal }: LinkPost): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath: linkSocket,
      method: "POST",
      path,
      agent,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      timeout: timeoutMs,
      ...(signal === undefined ? {} : { signal }),
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on("error", reject);
    request.on("response", (response) => {
      response.resume();
      const { statusCode = 0 } = response;
      response.on("error", reject);
      response.on("end", () =>
        statusCode >= 200 && statusCode < 300 ? resolve() : reject(new ControlRefused(path, statusCode)),
      );
    });
    request.end(body);
  });
}
