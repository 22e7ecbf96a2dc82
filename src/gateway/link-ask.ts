/** One question to control on the internal socket, answered by a text. Owns its limits; must not interpret either. */
import { request as httpRequest } from "node:http";

export type LinkQuestion = {
  /** Unix socket of control's internal protocol. */
  readonly linkSocket: string;
  readonly path: string;
  /** JSON to post; null to get. */
  readonly body: string | null;
  /** Until the answer has come whole, milliseconds. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
};

/** Rejects when control gives no answer with status 200. */
export function askControl(question: LinkQuestion): Promise<string> {
  const { linkSocket, path, body, timeoutMs, maxAnswerBytes } = question;
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      ...{ socketPath: linkSocket, path, agent: false, signal: AbortSignal.timeout(timeoutMs) },
      method: body === null ? "GET" : "POST",
      headers:
        body === null
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
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
        else reject(new Error(`control answered ${path} with ${response.statusCode}`));
      });
    });
    request.end(body ?? undefined);
  });
}
