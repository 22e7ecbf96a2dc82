/**
 * The header of a safetensors file as sums: bytes and weights by number format and by part of the model. Pure, and made
 * for hostile files: every length is checked against the file before it is believed, and nothing but sums is kept. Must
 * not read files.
 */
import { partOfTensor, type TensorPart } from "../../core/model-facts.ts";

/** The eight bytes before the header that hold its length. */
export const lengthBytes = 8;
/** The format's own limit on a header. */
const maxHeaderBytes = 100_000_000;
const maxTensors = 500_000;
const maxDimensions = 16;

/** Bits of one element. */
const dtypeBits: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
};

export type TensorSums = {
  readonly parameters: number;
  readonly bytes: number;
  readonly bytesByDtype: ReadonlyMap<string, number>;
  readonly bytesByPart: ReadonlyMap<TensorPart, number>;
};

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  /** `why` completes "the file …". */
  | { readonly ok: false; readonly why: string };

/** @param start the first eight bytes of the file, or more */
export function readHeaderLength(start: Uint8Array, fileBytes: number): Parsed<number> {
  if (start.byteLength < lengthBytes || fileBytes < lengthBytes) return bad("is too short for a header");
  const view = new DataView(start.buffer, start.byteOffset, lengthBytes);
  const high = view.getUint32(4, true);
  const length = view.getUint32(0, true);
  if (high !== 0 || length > maxHeaderBytes) return bad("announces a header larger than the format allows");
  if (length > fileBytes - lengthBytes) return bad("announces a header that is longer than the file");
  return { ok: true, value: length };
}

/** @param header the bytes after the length, exactly as many as it says */
export function sumTensors(
  header: Uint8Array,
  fileBytes: number,
  packedBits: number | null,
): Parsed<TensorSums> {
  const json = parseJson(header);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    return bad("has a header that is not JSON");
  const names = Object.keys(json);
  if (names.length > maxTensors) return bad(`lists more than ${maxTensors} tensors`);
  const dataBytes = fileBytes - lengthBytes - header.byteLength;
  const bytesByDtype = new Map<string, number>();
  const bytesByPart = new Map<TensorPart, number>();
  let parameters = 0;
  let bytes = 0;
  for (const name of names) {
    if (name === "__metadata__") continue;
    const tensor = readTensor((json as Record<string, unknown>)[name], dataBytes);
    if (tensor === null) return bad("lists a tensor whose format, shape or place is not possible");
    bytes += tensor.bytes;
    parameters += tensor.elements * weightsPerElement(name, tensor.dtype, packedBits);
    add(bytesByDtype, tensor.dtype, tensor.bytes);
    add(bytesByPart, partOfTensor(name), tensor.bytes);
  }
  // Tensors do not overlap, so that together they are no more than there is.
  if (bytes > dataBytes) return bad("lists tensors that are larger than the file");
  return { ok: true, value: { parameters: Math.round(parameters), bytes, bytesByDtype, bytesByPart } };
}

type Tensor = { readonly dtype: string; readonly elements: number; readonly bytes: number };

function readTensor(entry: unknown, dataBytes: number): Tensor | null {
  if (typeof entry !== "object" || entry === null) return null;
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const bits = typeof dtype === "string" && Object.hasOwn(dtypeBits, dtype) ? dtypeBits[dtype] : undefined;
  if (typeof dtype !== "string" || bits === undefined) return null;
  if (!Array.isArray(shape) || shape.length > maxDimensions || !Array.isArray(offsets)) return null;
  const [begin, end, ...rest] = offsets as unknown[];
  if (!isSize(begin) || !isSize(end) || rest.length > 0 || begin > end || end > dataBytes) return null;
  let elements = 1;
  for (const size of shape as unknown[]) {
    if (!isSize(size)) return null;
    elements *= size;
  }
  const bytes = end - begin;
  return Math.ceil((elements * bits) / 8) === bytes ? { dtype, elements, bytes } : null;
}

/**
 * Quantized files pack several weights into one number, and keep scales and orders beside them that are no weights.
 * @param packedBits bits of a weight as the configuration says; null where it does not
 */
function weightsPerElement(name: string, dtype: string, packedBits: number | null): number {
  if (
    /(scales?|scale_inv|zeros?|zero_point|g_idx|absmax|quant_map|quant_state[\w.]*|weight_shape|input_global_scale|weight_global_scale|scale_2)$/.test(
      name,
    )
  ) {
    return 0;
  }
  const bits = dtypeBits[dtype] ?? 8;
  if (/\.(qweight|weight_packed)$/.test(name) && packedBits !== null && packedBits > 0)
    return bits / packedBits;
  if (/_blocks$/.test(name) && dtype === "U8") return 2;
  if (dtype === "U8" && /weight$/.test(name)) return packedBits === 4 ? 2 : 1;
  return 1;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Not JSON is an expected outcome here: the caller says it in words.
    return undefined;
  }
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function add<Key>(sums: Map<Key, number>, key: Key, bytes: number): void {
  sums.set(key, (sums.get(key) ?? 0) + bytes);
}

function bad(why: string): { ok: false; why: string } {
  return { ok: false, why };
}
