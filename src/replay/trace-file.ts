/**
 * Reads a trace from a file as a stream, so that its length does not matter, and puts requests in the order of their times:
 * records are written when requests end. Owns the file and the bounded sorting; what a line says is trace.ts's.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { type ReadLine, readerFor, TraceError, type TraceRequest } from "./trace.ts";

/** Requests that are held back to be sorted. */
const sorted = 10_000;

/** Times begin at 0. `model` as in trace.ts. Throws TraceError with a sentence where the file or a line is not as it should be. */
export async function* readTrace(path: string, model: string | null): AsyncGenerator<TraceRequest> {
  const held = new Earliest();
  let firstMs: number | null = null;
  let lastMs = Number.NEGATIVE_INFINITY;
  const give = ({ atMs, promptTokens, generatedTokens }: TraceRequest): TraceRequest => {
    firstMs ??= atMs;
    lastMs = atMs;
    return { atMs: atMs - firstMs, promptTokens, generatedTokens };
  };
  for await (const { request, line } of readLines(path, model)) {
    if (request.atMs < lastMs) {
      throw new TraceError(
        `Line ${line} of ${path} is more than ${sorted} requests out of order. Sort the file by time first.`,
      );
    }
    held.add(request);
    if (held.size > sorted) yield give(held.take());
  }
  if (held.size === 0 && firstMs === null)
    throw new TraceError(
      model === null ? `${path} has no requests in it.` : `${path} has no requests for ${model} in it.`,
    );
  while (held.size > 0) yield give(held.take());
}

async function* readLines(
  path: string,
  model: string | null,
): AsyncGenerator<{ request: TraceRequest; line: number }> {
  const input = createReadStream(path, { encoding: "utf8" });
  let read: ReadLine | null = null;
  let line = 0;
  try {
    for await (const raw of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      const text = line === 1 ? raw.replace(/^\uFEFF/, "") : raw;
      read ??= readerFor(text, model);
      const request = read(text, line);
      if (request !== null) yield { request, line };
    }
  } catch (error) {
    throw explain(error, path);
  } finally {
    input.destroy();
  }
}

function explain(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  if (error.code === "ENOENT") return new TraceError(`There is no file ${path}.`);
  if (error.code === "EISDIR") return new TraceError(`${path} is a folder, not a file.`);
  if (error.code === "EACCES") return new TraceError(`${path} may not be read.`);
  return error;
}

/** A heap by time; equals in the order they came. */
class Earliest {
  readonly #heap: { readonly request: TraceRequest; readonly order: number }[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  add(request: TraceRequest): void {
    const heap = this.#heap;
    const one = { request, order: this.#order };
    this.#order += 1;
    let child = heap.length;
    heap.push(one);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isEarlier(one, above)) break;
      heap[child] = above;
      child = parent;
    }
    heap[child] = one;
  }

  /** Throws when there is none. */
  take(): TraceRequest {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined) throw new Error("nothing is held");
    if (heap.length > 0) this.#sink(last);
    return first.request;
  }

  #sink(one: { readonly request: TraceRequest; readonly order: number }): void {
    const heap = this.#heap;
    let parent = 0;
    for (;;) {
      const left = heap[2 * parent + 1];
      const right = heap[2 * parent + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isEarlier(right, left);
      const child = isRight ? right : left;
      if (!isEarlier(child, one)) break;
      heap[parent] = child;
      parent = 2 * parent + (isRight ? 2 : 1);
    }
    heap[parent] = one;
  }
}

function isEarlier(
  a: { readonly request: TraceRequest; readonly order: number },
  b: { readonly request: TraceRequest; readonly order: number },
): boolean {
  return a.request.atMs === b.request.atMs ? a.order < b.order : a.request.atMs < b.request.atMs;
}
