/**
 * Looks at a repository without fetching its weights: reads its configuration and the headers of its weight files by
 * range, several at once, and puts ModelFacts together. Owns how much is read at most; must not write, nor judge
 * whether the model fits anywhere.
 */
import type { RepoFile } from "../../core/deployment.ts";
import { GgufError } from "../../core/gguf-header.ts";
import type { ModelFacts, TensorPart, WeightFormat } from "../../core/model-facts.ts";
import type { RepoListing } from "../../ports/hub.ts";
import { badListing } from "../failures.ts";
import type { ReadRange } from "../source.ts";
import { readGgufFacts } from "./gguf-facts.ts";
import { emptyModelHeader, type ModelHeader, readModelHeader } from "./gguf-tensors.ts";
import { readModelConfig } from "./model-config.ts";
import {
  lengthBytes,
  type Parsed,
  readHeaderLength,
  sumTensors,
  type TensorSums,
} from "./safetensors-header.ts";

/** Bytes of safetensors headers that are read at most; of a repository with more, some are read and the rest is inferred. */
const headerBudgetBytes = 4_000_000;
/** A first read that has most headers whole: the smaller, the more files there are. */
const firstReadBytes = { least: 1024, most: 65_536, together: 3_000_000 };
/** A GGUF header holds the vocabulary; beyond this the rest is left unread. */
const ggufBudgetBytes = 16_000_000;
const ggufReads = { first: 65_536, most: 2_000_000, count: 48 };
const maxConfigBytes = 2_000_000;
const maxFiles = 2000;
const parallelReads = 48;

type Inspection = {
  readonly listing: RepoListing;
  /** The weight files to look at, and others, which are passed over. */
  readonly files: readonly RepoFile[];
  readonly read: ReadRange;
  /** Who is said to have given what cannot be used. */
  readonly host: string;
};

/** Throws HubError for a repository whose headers are no headers. */
export async function inspectFiles(job: Inspection, signal: AbortSignal): Promise<ModelFacts> {
  const weights = job.files.filter(({ path }) => formatOf(path) !== null);
  const format = formatOf(weights[0]?.path ?? "");
  if (weights.length > maxFiles) throw refuse(job, `it has more than ${maxFiles} weight files`);
  if (format === "gguf") return await inspectGguf(job, weights, signal);
  const [config, tokenizer, adapter] = await inParallel(
    ["config.json", "tokenizer_config.json", "adapter_config.json"],
    (path) => readJson(job, path, signal),
  );
  const facts = readModelConfig(config);
  const packedBits = facts.quantization?.bits ?? null;
  const sums = format === "safetensors" ? await sumHeaders(job, weights, packedBits, signal) : noTensors;
  return {
    ...facts,
    format: format ?? "safetensors",
    ...describeWeights(weights, sums, declaredDtype(config)),
    hasChatTemplate: hasChatTemplate(job.listing, tokenizer),
    adapter: isAdapter(job.listing) ? readAdapter(adapter) : null,
  };
}

function formatOf(path: string): WeightFormat | null {
  if (/\.safetensors$/.test(path)) return "safetensors";
  if (/\.gguf$/i.test(path)) return "gguf";
  return /\.(bin|pt|pth|ckpt)$/.test(path) ? "pickle" : null;
}

type Summed = { readonly sums: TensorSums; readonly isCounted: boolean };
const noTensors: Summed = {
  sums: { parameters: 0, bytes: 0, bytesByDtype: new Map(), bytesByPart: new Map() },
  isCounted: false,
};

async function sumHeaders(
  job: Inspection,
  files: readonly RepoFile[],
  packedBits: number | null,
  signal: AbortSignal,
): Promise<Summed> {
  const { least, most, together } = firstReadBytes;
  const pieceBytes = Math.max(least, Math.min(most, Math.floor(together / Math.max(1, files.length))));
  const starts = await inParallel(files, async (file) => {
    const piece =
      file.bytes < lengthBytes
        ? new Uint8Array()
        : await job.read(file, 0, Math.min(pieceBytes, file.bytes), signal);
    const length = accept(job, file, readHeaderLength(piece, file.bytes));
    return {
      file,
      piece,
      end: lengthBytes + length,
      unread: Math.max(0, lengthBytes + length - piece.byteLength),
    };
  });
  const chosen = withinBudget(starts, headerBudgetBytes);
  const headers = await inParallel(chosen, async ({ file, piece, end }) => {
    const rest = piece.byteLength < end ? await job.read(file, piece.byteLength, end, signal) : null;
    const header =
      rest === null ? piece.subarray(lengthBytes, end) : Buffer.concat([piece, rest]).subarray(lengthBytes);
    return accept(job, file, sumTensors(header, file.bytes, packedBits));
  });
  const all = addUp(headers);
  const isCounted = chosen.length === starts.length;
  const bytesOf = (some: typeof starts) => some.reduce((sum, { file, end }) => sum + file.bytes - end, 0);
  return { isCounted, sums: isCounted ? all : scale(all, bytesOf(starts) / Math.max(1, bytesOf(chosen))) };
}

/** All of them where they fit; else as many as fit, spread evenly, as the first and last files are often unlike the rest. */
function withinBudget<Start extends { readonly unread: number }>(
  starts: readonly Start[],
  budget: number,
): Start[] {
  const total = (some: readonly Start[]) => some.reduce((sum, { unread }) => sum + unread, 0);
  for (let stride = 1; stride <= starts.length; stride += 1) {
    const some = starts.filter((_, index) => index % stride === Math.floor(stride / 2) % stride);
    if (total(some) <= budget) return some;
  }
  return [];
}

async function inspectGguf(
  job: Inspection,
  files: readonly RepoFile[],
  signal: AbortSignal,
): Promise<ModelFacts> {
  const headers = await inParallel(files, (file) => readGguf(job, file, signal));
  const first = headers[0] ?? emptyModelHeader();
  const read = headers.flatMap(({ tensors }) => (tensors === null ? [] : [tensors]));
  const isCounted = read.length === headers.length;
  const summed = isCounted ? { sums: addUp(read), isCounted } : noTensors;
  const merged = isCounted ? { ...first, tensors: summed.sums } : first;
  const { hasChatTemplate: hasTemplate, ...facts } = readGgufFacts(merged);
  return {
    ...facts,
    format: "gguf",
    ...describeWeights(files, summed, facts.quantization?.method ?? null),
    hasChatTemplate: hasTemplate,
    adapter: null,
  };
}

/** Feeds the header's reader; what lies beyond the budget stays unread. */
async function readGguf(job: Inspection, file: RepoFile, signal: AbortSignal): Promise<ModelHeader> {
  const header = emptyModelHeader();
  const reading = readModelHeader(file.bytes, header);
  let pieceBytes = ggufReads.first;
  let readBytes = 0;
  try {
    let step = reading.next();
    for (let count = 0; step.done !== true; count += 1) {
      const { from, bytes } = step.value;
      const end = Math.min(file.bytes, from + Math.max(bytes, pieceBytes));
      readBytes += end - from;
      if (readBytes > ggufBudgetBytes || count >= ggufReads.count) return header;
      step = reading.next(await job.read(file, from, end, signal));
      pieceBytes = Math.min(ggufReads.most, pieceBytes * 4);
    }
    return header;
  } catch (error) {
    if (error instanceof GgufError) throw refuse(job, `${file.path} ${error.message}`);
    throw error;
  }
}

/** Null for a file that is not there, too large, or no JSON: facts are then missing, the model may still load. */
async function readJson(job: Inspection, path: string, signal: AbortSignal): Promise<unknown> {
  const file = job.listing.files.find((one) => one.path === path);
  if (file === undefined || file.bytes > maxConfigBytes || file.bytes === 0) return null;
  const bytes = await job.read(file, 0, file.bytes, signal);
  try {
    // Python writes numbers that JSON does not have.
    const numbers = /(?<=[:[,]\s*)-?(?:Infinity|NaN)(?=\s*[,\]}])/g;
    return JSON.parse(new TextDecoder().decode(bytes).replace(numbers, "null"));
  } catch {
    // An engine will refuse it in its own words; here it only says nothing.
    return null;
  }
}

function describeWeights(
  files: readonly RepoFile[],
  { sums, isCounted }: Summed,
  dtype: string | null,
): Pick<ModelFacts, "parameters" | "weightBytes" | "bytesByDtype" | "bytesByPart" | "isCounted"> {
  const weightBytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (sums.bytes > 0) {
    const bytesByPart: Partial<Record<TensorPart, number>> = Object.fromEntries(sums.bytesByPart);
    const bytesByDtype = Object.fromEntries(sums.bytesByDtype);
    return { parameters: sums.parameters, weightBytes, bytesByDtype, bytesByPart, isCounted };
  }
  const size = dtype === null ? undefined : bytesOfDtype[dtype];
  return {
    parameters: size === undefined ? null : Math.round(weightBytes / size),
    weightBytes,
    bytesByDtype: dtype === null ? {} : { [dtype]: weightBytes },
    bytesByPart: {},
    isCounted: false,
  };
}

const bytesOfDtype: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

/** The number format that a configuration declares, as safetensors names it. */
function declaredDtype(config: unknown): string | null {
  if (typeof config !== "object" || config === null) return null;
  const { torch_dtype: old, dtype } = config as Record<string, unknown>;
  const names: Readonly<Record<string, string>> = { float32: "F32", float16: "F16", bfloat16: "BF16" };
  const said = String(dtype ?? old);
  return Object.hasOwn(names, said) ? (names[said] ?? null) : null;
}

function hasChatTemplate(listing: RepoListing, tokenizer: unknown): boolean {
  if (listing.files.some(({ path }) => /^chat_template\.(jinja|json)$/.test(path))) return true;
  if (typeof tokenizer !== "object" || tokenizer === null) return false;
  const { chat_template: template } = tokenizer as Record<string, unknown>;
  return (
    (typeof template === "string" && template !== "") || (Array.isArray(template) && template.length > 0)
  );
}

/** An adapter's repository has its weights, and no model's. */
function isAdapter({ files }: RepoListing): boolean {
  const has = (name: RegExp) => files.some(({ path }) => name.test(path));
  return (
    has(/^adapter_config\.json$/) && !has(/^(model|pytorch_model|consolidated)[^/]*\.(safetensors|bin)$/)
  );
}

function readAdapter(config: unknown): ModelFacts["adapter"] {
  if (typeof config !== "object" || config === null) return { base: null, rank: null };
  const { base_model_name_or_path: base, r: rank } = config as Record<string, unknown>;
  return {
    base: typeof base === "string" && base.length <= 256 ? base : null,
    rank: typeof rank === "number" && Number.isInteger(rank) && rank > 0 && rank <= 65_536 ? rank : null,
  };
}

function addUp(parts: readonly TensorSums[]): TensorSums {
  const bytesByDtype = new Map<string, number>();
  const bytesByPart = new Map<TensorPart, number>();
  for (const part of parts) {
    for (const [dtype, bytes] of part.bytesByDtype)
      bytesByDtype.set(dtype, (bytesByDtype.get(dtype) ?? 0) + bytes);
    for (const [name, bytes] of part.bytesByPart) bytesByPart.set(name, (bytesByPart.get(name) ?? 0) + bytes);
  }
  const sum = (of: "parameters" | "bytes") => parts.reduce((total, part) => total + part[of], 0);
  return { parameters: sum("parameters"), bytes: sum("bytes"), bytesByDtype, bytesByPart };
}

function scale(sums: TensorSums, factor: number): TensorSums {
  const scaled = <Key>(map: ReadonlyMap<Key, number>) =>
    new Map([...map].map(([key, bytes]) => [key, Math.round(bytes * factor)]));
  return {
    parameters: Math.round(sums.parameters * factor),
    bytes: Math.round(sums.bytes * factor),
    bytesByDtype: scaled(sums.bytesByDtype),
    bytesByPart: scaled(sums.bytesByPart),
  };
}

function accept<T>(job: Inspection, file: RepoFile, parsed: Parsed<T>): T {
  if (!parsed.ok) throw refuse(job, `${file.path} ${parsed.why}`);
  return parsed.value;
}

function refuse(job: Inspection, why: string): Error {
  return badListing(job.listing.repo, job.host, why);
}

/** Results in the order of the items; the first failure is thrown once nothing runs any more. */
async function inParallel<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  let hasFailed = false;
  const worker = async () => {
    try {
      for (const [index, item] of queue) {
        if (hasFailed) return;
        results[index] = await work(item);
      }
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  };
  const ends = await Promise.allSettled(
    Array.from({ length: Math.min(parallelReads, items.length) }, worker),
  );
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return results;
}
