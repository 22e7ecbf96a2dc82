/**
 * The whole header of a GGUF file: its keys, and the sums over the tensors that it lists. Pure, and made for hostile files as
 * the reader of the keys is.
 */
import {
  emptyGgufHeader,
  GgufCursor,
  GgufError,
  type GgufHeader,
  maxNameBytes,
  type Reading,
  readGgufKeys,
} from "../../core/gguf-header.ts";
import { partOfTensor, type TensorPart } from "../../core/model-facts.ts";
import type { TensorSums } from "./safetensors-header.ts";

/** What was read so far; whole once the reading is done. */
export type ModelHeader = GgufHeader & {
  /** Null until all keys and tensors are read. */
  tensors: TensorSums | null;
};

export function emptyModelHeader(): ModelHeader {
  return { ...emptyGgufHeader(), tensors: null };
}

/** Tensor formats: name, weights in a block, bytes of a block. */
const blocks: Readonly<Record<number, readonly [string, number, number]>> = {
  0: ["F32", 1, 4],
  1: ["F16", 1, 2],
  2: ["Q4_0", 32, 18],
  3: ["Q4_1", 32, 20],
  6: ["Q5_0", 32, 22],
  7: ["Q5_1", 32, 24],
  8: ["Q8_0", 32, 34],
  9: ["Q8_1", 32, 36],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  12: ["Q4_K", 256, 144],
  13: ["Q5_K", 256, 176],
  14: ["Q6_K", 256, 210],
  15: ["Q8_K", 256, 292],
  16: ["IQ2_XXS", 256, 66],
  17: ["IQ2_XS", 256, 74],
  18: ["IQ3_XXS", 256, 98],
  19: ["IQ1_S", 256, 50],
  20: ["IQ4_NL", 32, 18],
  21: ["IQ3_S", 256, 110],
  22: ["IQ2_S", 256, 82],
  23: ["IQ4_XS", 256, 136],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  29: ["IQ1_M", 256, 56],
  30: ["BF16", 1, 2],
  34: ["TQ1_0", 256, 54],
  35: ["TQ2_0", 256, 66],
  39: ["MXFP4", 32, 17],
};

const nothingWhole: ReadonlySet<string> = new Set();

/** Yields what it needs, takes the bytes, fills `header`. @throws GgufError for what cannot be a header */
export function* readModelHeader(fileBytes: number, header: ModelHeader): Reading<void> {
  const cursor = new GgufCursor(fileBytes);
  const tensorCount = yield* readGgufKeys(cursor, header, nothingWhole);
  header.tensors = yield* readTensors(cursor, tensorCount, fileBytes);
}

function* readTensors(cursor: GgufCursor, count: number, fileBytes: number): Reading<TensorSums> {
  const bytesByDtype = new Map<string, number>();
  const bytesByPart = new Map<TensorPart, number>();
  let parameters = 0;
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    const name = yield* cursor.text(maxNameBytes);
    const dimensions = yield* cursor.uint32();
    if (dimensions > 8) throw new GgufError("lists a tensor of more than 8 dimensions");
    let elements = 1;
    for (let axis = 0; axis < dimensions; axis += 1) elements *= yield* cursor.uint64();
    const format = blocks[yield* cursor.uint32()];
    if (format === undefined) throw new GgufError("lists a tensor of an unknown format");
    const offset = yield* cursor.uint64();
    const [dtype, perBlock, blockBytes] = format;
    const bytes = Math.ceil(elements / perBlock) * blockBytes;
    if (!Number.isSafeInteger(elements) || offset + bytes > fileBytes) {
      throw new GgufError("lists tensors that are larger than the file");
    }
    parameters += elements;
    total += bytes;
    bytesByDtype.set(dtype, (bytesByDtype.get(dtype) ?? 0) + bytes);
    const part = partOfTensor(name);
    bytesByPart.set(part, (bytesByPart.get(part) ?? 0) + bytes);
  }
  if (total > fileBytes) throw new GgufError("lists tensors that are larger than the file");
  return { parameters, bytes: total, bytesByDtype, bytesByPart };
}
