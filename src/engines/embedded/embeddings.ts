/**
 * Embeddings in OpenAI's shape. A model made for them gives what its file says (pooling); one that writes text gives the
 * state behind its last token. Inputs are computed one after the other; the context they
 * need is made at the first request.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { invalid, RequestError, unsupported } from "./errors.ts";
import { type Body, isToken, readWhole, refuseParameters } from "./parameters.ts";
import { type Caller, checkTextLength, readModelName, type Service, withBos } from "./service.ts";

const mostInputs = 1024;
const leastDimensions = 32;
const mostDimensions = 65_536;

type Embedder = (tokens: number[]) => Promise<readonly number[]>;

/** Made once a process; requests take turns. */
export class Embeddings {
  readonly #service: Service;
  #embedder: Promise<Embedder> | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(service: Service) {
    this.#service = service;
  }

  async answer(body: Body, caller: Caller): Promise<unknown> {
    refuseParameters(body);
    const model = readModelName(this.#service, body);
    const format = body.encoding_format ?? "float";
    if (format !== "float" && format !== "base64") {
      throw unsupported("encoding_format", "can be float or base64.");
    }
    const dimensions = readWhole(body, "dimensions", leastDimensions, mostDimensions);
    const inputs = await this.#readInputs(body, caller.signal);
    const data: object[] = [];
    for (const [index, tokens] of inputs.entries()) {
      const vector = fitDimensions(await this.#embed(tokens, caller.signal), dimensions);
      data.push({ object: "embedding", index, embedding: format === "float" ? vector : toBase64(vector) });
    }
    const count = inputs.reduce((sum, tokens) => sum + tokens.length, 0);
    return { object: "list", data, model, usage: { prompt_tokens: count, total_tokens: count } };
  }

  /** Lets other requests have their turn between two inputs: tokenizing a thousand long ones takes seconds. */
  async #readInputs(body: Body, signal: AbortSignal): Promise<number[][]> {
    const { input } = body;
    const isTokens = (value: unknown): value is number[] =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((id) => isToken(id, this.#service.model.vocabulary.size));
    const list: unknown[] =
      typeof input === "string" || isTokens(input) ? [input] : Array.isArray(input) ? input : [];
    if (list.length === 0 || list.length > mostInputs) {
      throw invalid(
        "input",
        `must be a text, a list of token ids, or a list of 1 to ${mostInputs} of these.`,
      );
    }
    const inputs: number[][] = [];
    for (const [index, item] of list.entries()) {
      if (index > 0) await nextTurn(undefined, { signal });
      inputs.push(this.#readInput(item, index, isTokens));
    }
    return inputs;
  }

  #readInput(item: unknown, index: number, isTokens: (value: unknown) => value is number[]): number[] {
    if (isTokens(item)) return this.#checked(item);
    if (typeof item !== "string" || item === "") {
      throw invalid(`input[${index}]`, "must be a text that is not empty, or a list of token ids.");
    }
    const { model, capacity } = this.#service;
    checkTextLength(model, item, capacity.contextTokens, "input");
    return this.#checked([...withBos(model, model.tokenize(item, false))]);
  }

  #checked(tokens: number[]): number[] {
    const { contextTokens } = this.#service.capacity;
    // Room for the tokens that the engine puts around an input.
    if (tokens.length + 2 < contextTokens) return tokens;
    throw new RequestError(
      "context_length_exceeded",
      `An input has ${tokens.length} tokens, but this model takes at most ${contextTokens - 3}.`,
      "input",
    );
  }

  async #embed(tokens: number[], signal: AbortSignal): Promise<readonly number[]> {
    const { model, capacity } = this.#service;
    const before = this.#turn;
    const own = (async () => {
      await before.catch(() => undefined);
      signal.throwIfAborted();
      this.#embedder ??= model.createEmbedder(capacity.contextTokens);
      return await (await this.#embedder)(tokens);
    })();
    this.#turn = own;
    return normalise(await own);
  }
}

/** Zeros behind a vector that is too short; a longer one is cut and brought back to length 1. */
export function fitDimensions(vector: readonly number[], dimensions: number | null): readonly number[] {
  if (dimensions === null || dimensions === vector.length) return vector;
  if (dimensions < vector.length) return normalise(vector.slice(0, dimensions));
  return [...vector, ...new Array<number>(dimensions - vector.length).fill(0)];
}

function normalise(vector: readonly number[]): readonly number[] {
  const length = Math.hypot(...vector);
  return length === 0 ? vector : vector.map((value) => value / length);
}

function toBase64(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString("base64");
}
