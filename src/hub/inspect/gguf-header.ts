/**
 * Reads the header of a GGUF file piece by piece: says which bytes it needs next, keeps the few values that describe the
 * model and the sums over its tensors, and skips the rest. Pure. A file may lie about every length in it: nothing is
 * allocated by a length that a file gives, and whoever fetches the pieces bounds their number and size.
 */
import { partOfTensor, type TensorPart } from "../../core/model-facts.ts";
import type { TensorSums } from "./safetensors-header.ts";

/** Bytes that are needed next: at least `bytes` from `from`; more may be given. */
export type Wanted = { readonly from: number; readonly bytes: number };

export type GgufValue = number | boolean | string | readonly (number | boolean)[];

/** What was read so far; whole once the reading is done. */
export type GgufHeader = {
  /** Numbers, short texts and short lists of numbers by their keys. */
  readonly values: Map<string, GgufValue>;
  /** Entries of every list, by its key. */
  readonly lengths: Map<string, number>;
  /** Keys of all texts, also of those that were too long to keep. */
  readonly texts: Set<string>;
  /** Null until all keys and tensors are read. */
  tensors: TensorSums | null;
};

export function emptyGgufHeader(): GgufHeader {
  return { values: new Map(), lengths: new Map(), texts: new Set(), tensors: null };
}

/** A header that no writer of GGUF makes; `message` completes "the file …". */
export class GgufError extends Error {}

const magic = 0x46554747;
const maxKeys = 65_536;
const maxTensors = 500_000;
const maxNameBytes = 1024;
const maxKeptTextBytes = 512;
const maxKeptEntries = 2048;
const maxDepth = 3;

/** Bytes of the types of fixed size, by their number: u8 i8 u16 i16 u32 i32 f32 bool - - u64 i64 f64. */
const sizeOfType = [1, 1, 2, 2, 4, 4, 4, 1, null, null, 8, 8, 8] as const;
const textType = 8;
const listType = 9;

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

type Reading<T> = Generator<Wanted, T, Uint8Array>;

/** Yields what it needs, takes the bytes, fills `header`. @throws GgufError for what cannot be a header */
export function* readGgufHeader(fileBytes: number, header: GgufHeader): Reading<void> {
  const { values, lengths, texts } = header;
  const cursor = new Cursor(fileBytes);
  if ((yield* cursor.uint32()) !== magic) throw new GgufError("does not begin as GGUF files do");
  const version = yield* cursor.uint32();
  if (version !== 2 && version !== 3)
    throw new GgufError("is of a GGUF version that is not supported (2 and 3 are)");
  const tensorCount = yield* cursor.uint64();
  const keyCount = yield* cursor.uint64();
  if (tensorCount > maxTensors) throw new GgufError(`announces more than ${maxTensors} tensors`);
  if (keyCount > maxKeys) throw new GgufError(`announces more than ${maxKeys} keys`);
  for (let index = 0; index < keyCount; index += 1) {
    const key = yield* cursor.text(maxNameBytes);
    const type = yield* cursor.uint32();
    if (type === listType) {
      const { entries, kept } = yield* readList(cursor, 1);
      lengths.set(key, entries);
      if (kept !== null) values.set(key, kept);
    } else if (type === textType) {
      texts.add(key);
      const text = yield* readText(cursor);
      if (text !== null) values.set(key, text);
    } else {
      values.set(key, yield* cursor.scalar(type));
    }
  }
  header.tensors = yield* readTensors(cursor, tensorCount, fileBytes);
}

/** Null for a text that is too long to be of interest; its bytes are then not even fetched. */
function* readText(cursor: Cursor): Reading<string | null> {
  const bytes = yield* cursor.uint64();
  if (bytes <= maxKeptTextBytes) return yield* cursor.decode(bytes);
  cursor.skip(bytes);
  return null;
}

function* readList(
  cursor: Cursor,
  depth: number,
): Reading<{ entries: number; kept: (number | boolean)[] | null }> {
  if (depth > maxDepth) throw new GgufError("nests lists too deep");
  const type = yield* cursor.uint32();
  const entries = yield* cursor.uint64();
  if (type === listType) {
    for (let index = 0; index < entries; index += 1) yield* readList(cursor, depth + 1);
    return { entries, kept: null };
  }
  if (type === textType) {
    yield* cursor.skipTexts(entries);
    return { entries, kept: null };
  }
  const size = sizeOfType[type] ?? null;
  if (size === null) throw new GgufError("has a value of an unknown type");
  if (depth > 1 || entries > maxKeptEntries) {
    cursor.skip(entries * size);
    return { entries, kept: null };
  }
  const kept: (number | boolean)[] = [];
  for (let index = 0; index < entries; index += 1) kept.push(yield* cursor.scalar(type));
  return { entries, kept };
}

function* readTensors(cursor: Cursor, count: number, fileBytes: number): Reading<TensorSums> {
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

/** The place in the file that is read next, over the piece that is at hand. */
class Cursor {
  readonly #fileBytes: number;
  #at = 0;
  #piece: DataView = new DataView(new ArrayBuffer(0));
  #pieceFrom = 0;

  constructor(fileBytes: number) {
    this.#fileBytes = fileBytes;
  }

  *uint32(): Reading<number> {
    const at = yield* this.#take(4);
    return this.#piece.getUint32(at, true);
  }

  *uint64(): Reading<number> {
    return this.#uint64At(yield* this.#take(8));
  }

  *text(maxBytes: number): Reading<string> {
    const bytes = yield* this.uint64();
    if (bytes > maxBytes) throw new GgufError(`has a name of more than ${maxBytes} bytes`);
    return yield* this.decode(bytes);
  }

  *decode(bytes: number): Reading<string> {
    const at = yield* this.#take(bytes);
    const { buffer, byteOffset } = this.#piece;
    return new TextDecoder().decode(new Uint8Array(buffer, byteOffset + at, bytes));
  }

  *scalar(type: number): Reading<number | boolean> {
    const size = sizeOfType[type] ?? null;
    if (size === null) throw new GgufError("has a value of an unknown type");
    const at = yield* this.#take(size);
    const view = this.#piece;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return view.getUint8(at) !== 0;
      case 10:
        return Number(view.getBigUint64(at, true));
      case 11:
        return Number(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }

  skip(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes > this.#fileBytes - this.#at) {
      throw new GgufError("announces more than it holds");
    }
    this.#at += bytes;
  }

  /** Walks over texts without looking at them: a vocabulary has hundreds of thousands. */
  *skipTexts(count: number): Reading<void> {
    if (count > (this.#fileBytes - this.#at) / 8) throw new GgufError("announces more than it holds");
    for (let index = 0; index < count; index += 1) {
      let at = this.#at - this.#pieceFrom;
      if (at < 0 || at + 8 > this.#piece.byteLength) {
        at = yield* this.#take(8);
      } else this.#at += 8;
      this.skip(this.#uint64At(at));
    }
  }

  /** Moves on by `bytes` and returns where they begin in the piece. */
  *#take(bytes: number): Reading<number> {
    if (bytes > this.#fileBytes - this.#at) throw new GgufError("announces more than it holds");
    const within = this.#at - this.#pieceFrom;
    if (within < 0 || within + bytes > this.#piece.byteLength) {
      const piece = yield { from: this.#at, bytes };
      if (piece.byteLength < bytes) throw new GgufError("is shorter than announced");
      this.#piece = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
      this.#pieceFrom = this.#at;
    }
    const at = this.#at - this.#pieceFrom;
    this.#at += bytes;
    return at;
  }

  #uint64At(at: number): number {
    const high = this.#piece.getUint32(at + 4, true);
    if (high > 0x1f_ffff) throw new GgufError("has a length that no file has");
    return high * 2 ** 32 + this.#piece.getUint32(at, true);
  }
}
