/** Asks control about a scoped JWT over the link. Owns the question's limits; what the answer means is `scopes.ts`'s. */
import { request as httpRequest } from "node:http";
import type { ScopeVerdict } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { scopeVerdict } from "../schema/routing.ts";

const timeoutMs = 5_000;
const maxAnswerBytes = 1024 * 1024;

/** @throws HttpError `control_away` when control gives no answer that can be read */
export async function askAboutScope(linkSocket: string, jwt: string): Promise<ScopeVerdict> {
  try {
    return scopeVerdict.parse(JSON.parse(await post(linkSocket, JSON.stringify({ jwt }))));
  } catch (error) {
    const away = new HttpError(
      "control_away",
      "The scoped JWT could not be checked: the control process did not answer. Try again in a moment.",
      { retryAfterS: 2 },
    );
    away.cause = error;
    throw away;
  }
}

function post(socketPath: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = httpRequest({
      socketPath,
      method: "POST",
      path: "/scopes",
      agent: false,
      headers,
      signal,
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      response.on("error", reject);
      response.on("data", (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > maxAnswerBytes) request.destroy(new Error("the answer is too large"));
        else pieces.push(piece);
      });
      response.on("end", () => {
        if (response.statusCode === 200) resolve(Buffer.concat(pieces).toString("utf8"));
        else reject(new Error(`control answered /scopes with ${response.statusCode}`));
      });
    });
    request.end(body);
  });
}
