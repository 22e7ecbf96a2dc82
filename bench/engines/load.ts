/**
 * The clients of the engines' measurements: streams of a fixed number of tokens, several at once, counted by the usage that
 * the engine itself reports. Knows neither which engine it is nor what the numbers are compared with.
 */
import { type RequestOptions, request } from "node:http";

export type Target = {
  /** A socket, or host and port. */
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: string;
  readonly secret: string;
  readonly model: string;
};

export type Work = {
  readonly streams: number;
  readonly promptBytes: number;
  /** Of each answer; a model's wish to end is not heard. */
  readonly tokens: number;
};

/** Tokens written a second, of all streams together, from the first request to the last answer's end. */
export async function measureSpeed(target: Target, work: Work, seed: number): Promise<number> {
  const startedMs = performance.now();
  const counts = await Promise.all(
    Array.from({ length: work.streams }, (_, index) =>
      streamAnswer(target, {
        prompt: promptOf(work.promptBytes, seed * 1000 + index),
        max_tokens: work.tokens,
      }),
    ),
  );
  const tookS = (performance.now() - startedMs) / 1000;
  const short = counts.find(({ tokens }) => tokens !== work.tokens);
  if (short !== undefined) throw new Error(`an answer has ${short.tokens} tokens, not ${work.tokens}`);
  return (work.streams * work.tokens) / tookS;
}

/** Milliseconds until the first text of an answer. */
export async function measureFirstToken(target: Target): Promise<number> {
  const startedMs = performance.now();
  const { firstMs } = await streamAnswer(target, { prompt: "Hello", max_tokens: 1 });
  return firstMs - startedMs;
}

/** Others each time, so that nothing of an earlier prompt is used again. */
function promptOf(bytes: number, seed: number): string {
  let state = seed + 1;
  const letters = Array.from({ length: bytes }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return String.fromCharCode(97 + ((state >>> 16) % 26));
  });
  return letters.join("");
}

/** What users' requests have, with the same choice of tokens in every engine. */
const sampling = { temperature: 0.7, top_k: 40, top_p: 0.95, min_p: 0, seed: 7 };

function streamAnswer(target: Target, asked: { prompt: string; max_tokens: number }) {
  const body = {
    ...{ model: target.model, stream: true, stream_options: { include_usage: true }, ignore_eos: true },
    ...sampling,
    ...asked,
  };
  const { socketPath, host, port } = target;
  const options: RequestOptions = {
    ...(socketPath === undefined ? { host, port } : { socketPath }),
    ...{ method: "POST", path: "/v1/completions", agent: false },
    headers: { authorization: `Bearer ${target.secret}`, "content-type": "application/json" },
  };
  return new Promise<{ firstMs: number; tokens: number }>((resolve, reject) => {
    const outgoing = request(options, (response) => {
      let firstMs = Number.NaN;
      let end = "";
      response.on("error", reject);
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        if (Number.isNaN(firstMs)) firstMs = performance.now();
        end = (end + text).slice(-2000);
      });
      response.on("end", () => {
        const tokens = Number(/"completion_tokens":\s*(\d+)/.exec(end)?.[1]);
        if (response.statusCode === 200 && tokens > 0) resolve({ firstMs, tokens });
        else reject(new Error(`${response.statusCode}: ${end.slice(-300)}`));
      });
    });
    outgoing.on("error", reject);
    outgoing.end(JSON.stringify(body));
  });
}
