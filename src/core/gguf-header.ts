/**
 * Reads the keys of a GGUF file's header piece by piece: says which bytes it needs next, keeps the values that describe the
 * model, and skips the rest. Pure. A file may lie about every length in it: nothing is allocated by a length that a file
 * gives, and whoever fetches the pieces bounds their number and size.
 */

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
  /** Lists of texts that were asked for. */
  readonly lists: Map<string, readonly string[]>;
};

export function emptyGgufHeader(): GgufHeader {
  return { values: new Map(), lengths: new Map(), texts: new Set(), lists: new Map() };
}

/** A header that no writer of GGUF makes; `message` completes "the file …". */
export class GgufError extends Error {}

const magic = 0x46554747;
const maxKeys = 65_536;
const maxTensors = 500_000;
export const maxNameBytes = 1024;
const maxKeptTextBytes = 512;
const maxKeptEntries = 2048;
const maxDepth = 3;

/** Bytes of the types of fixed size, by their number: u8 i8 u16 i16 u32 i32 f32 bool - - u64 i64 f64. */
const sizeOfType = [1, 1, 2, 2, 4, 4, 4, 1, null, null, 8, 8, 8] as const;
const textType = 8;
const listType = 9;

export type Reading<T> = Generator<Wanted, T, Uint8Array>;

/** Keys whose values are kept whole, however long; of all others only short texts and short lists of numbers are. */
export type KeptWhole = ReadonlySet<string>;

/**
 * Yields what it needs, takes the bytes, fills `header`; returns how many tensors are listed from where the cursor is then.
 * @throws GgufError for what cannot be a header
 */
export function* readGgufKeys(cursor: GgufCursor, header: GgufHeader, keptWhole: KeptWhole): Reading<number> {
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
    yield* readValue(cursor, header, key, keptWhole.has(key));
  }
  return tensorCount;
}

function* readValue(cursor: GgufCursor, header: GgufHeader, key: string, isWhole: boolean): Reading<void> {
  const { values, lengths, texts, lists } = header;
  const type = yield* cursor.uint32();
  if (type === listType) {
    const { entries, numbers, words } = yield* readList(cursor, 1, isWhole);
    lengths.set(key, entries);
    if (numbers !== null) values.set(key, numbers);
    if (words !== null) lists.set(key, words);
  } else if (type === textType) {
    texts.add(key);
    const text = yield* readText(cursor, isWhole);
    if (text !== null) values.set(key, text);
  } else {
    values.set(key, yield* cursor.scalar(type));
  }
}

/** Null for a text that is too long to be of interest; its bytes are then not even fetched. */
function* readText(cursor: GgufCursor, isWhole: boolean): Reading<string | null> {
  const bytes = yield* cursor.uint64();
  if (isWhole || bytes <= maxKeptTextBytes) return yield* cursor.decode(bytes);
  cursor.skip(bytes);
  return null;
}

type List = {
  readonly entries: number;
  readonly numbers: (number | boolean)[] | null;
  readonly words: string[] | null;
};

function* readList(cursor: GgufCursor, depth: number, isWhole: boolean): Reading<List> {
  if (depth > maxDepth) throw new GgufError("nests lists too deep");
  const type = yield* cursor.uint32();
  const entries = yield* cursor.uint64();
  const skipped = { entries, numbers: null, words: null };
  if (type === listType) {
    for (let index = 0; index < entries; index += 1) yield* readList(cursor, depth + 1, false);
    return skipped;
  }
  if (type === textType) {
    if (isWhole) return { ...skipped, words: yield* cursor.decodeTexts(entries) };
    yield* cursor.skipTexts(entries);
    return skipped;
  }
  if (depth > 1 || (entries > maxKeptEntries && !isWhole)) {
    cursor.skip(entries * sizeOf(type));
    return skipped;
  }
  return { ...skipped, numbers: yield* cursor.scalars(type, entries) };
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The place in the file that is read next, over the piece that is at hand. */
export class GgufCursor {
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
    return this.#textAt(at, at + bytes);
  }

  *scalar(type: number): Reading<number | boolean> {
    const at = yield* this.#take(sizeOf(type));
    return scalarAt(this.#piece, at, type);
  }

  *scalars(type: number, count: number): Reading<(number | boolean)[]> {
    const size = sizeOf(type);
    const at = yield* this.#take(count * size);
    return Array.from({ length: count }, (_, index) => scalarAt(this.#piece, at + index * size, type));
  }

  skip(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes > this.#fileBytes - this.#at) {
      throw new GgufError("announces more than it holds");
    }
    this.#at += bytes;
  }

  *decodeTexts(count: number): Reading<string[]> {
    this.#checkTexts(count);
    const texts: string[] = [];
    for (let index = 0; index < count; index += 1) {
      // A vocabulary has hundreds of thousands, and nearly all lie whole in the piece at hand: no step for these.
      const at = this.#at - this.#pieceFrom;
      const end = at + 8 <= this.#piece.byteLength ? at + 8 + this.#uint64At(at) : Number.POSITIVE_INFINITY;
      if (end <= this.#piece.byteLength) {
        texts.push(this.#textAt(at + 8, end));
        this.#at += end - at;
      } else {
        texts.push(yield* this.decode(yield* this.uint64()));
      }
    }
    return texts;
  }

  /** Walks over texts without looking at them: a vocabulary has hundreds of thousands. */
  *skipTexts(count: number): Reading<void> {
    this.#checkTexts(count);
    for (let index = 0; index < count; index += 1) {
      let at = this.#at - this.#pieceFrom;
      if (at < 0 || at + 8 > this.#piece.byteLength) {
        at = yield* this.#take(8);
      } else this.#at += 8;
      this.skip(this.#uint64At(at));
    }
  }

  #textAt(from: number, to: number): string {
    const { buffer, byteOffset } = this.#piece;
    return decoder.decode(new Uint8Array(buffer, byteOffset + from, to - from));
  }

  /** Each has at least its length. */
  #checkTexts(count: number): void {
    if (count > (this.#fileBytes - this.#at) / 8) throw new GgufError("announces more than it holds");
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

function sizeOf(type: number): number {
  const size = sizeOfType[type] ?? null;
  if (size === null) throw new GgufError("has a value of an unknown type");
  return size;
}

function scalarAt(view: DataView, at: number, type: number): number | boolean {
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
