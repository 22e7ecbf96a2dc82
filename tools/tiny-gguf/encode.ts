/**
 * The GGUF file format (version 3, little endian, ggml's docs/gguf.md) as far as random models need it: the head of a file,
 * the padding between tensors, and byte-level BPE's stand-ins for bytes. Knows no model; writes nothing.
 */

export type Value =
  | { string: string }
  | { strings: readonly string[] }
  | { i32s: readonly number[] }
  | { u32: number }
  | { f32: number }
  | { bool: boolean };

/** A tensor's place in the file; `bytes` without padding. */
export type TensorHead = { name: string; shape: readonly number[]; type: number; bytes: number };

/** ggml's numbers of the formats that are written here. */
export const tensorType = { f32: 0, q8_0: 8 } as const;

const alignment = 32;

/** What comes before the first tensor; each is followed by its padding. */
export function encodeHead(
  metadata: readonly (readonly [string, Value])[],
  tensors: readonly TensorHead[],
): Buffer {
  const head: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, value] of metadata) head.push(text(key), encodeValue(value));
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    head.push(text(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset));
    offset += bytes + padding(bytes).length;
  }
  const headBytes = Buffer.concat(head);
  return Buffer.concat([headBytes, padding(headBytes.length)]);
}

/** What fills up after so many bytes. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((alignment - (bytes % alignment)) % alignment);
}

function encodeValue(value: Value): Buffer {
  if ("u32" in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ("f32" in value) {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(6);
    bytes.writeFloatLE(value.f32, 4);
    return bytes;
  }
  if ("bool" in value) return Buffer.concat([u32(7), Buffer.from([value.bool ? 1 : 0])]);
  if ("string" in value) return Buffer.concat([u32(8), text(value.string)]);
  if ("strings" in value) {
    return Buffer.concat([u32(9), u32(8), u64(value.strings.length), ...value.strings.map(text)]);
  }
  return Buffer.concat([u32(9), u32(5), u64(value.i32s.length), ...value.i32s.map(u32)]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** The printable stand-in byte-level BPE (GPT-2) writes for a byte: itself where printable, else 256 + a running number. */
export function byteToCharacter(byte: number): string {
  const isPrintable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  if (isPrintable(byte)) return String.fromCharCode(byte);
  let hidden = 0;
  for (let b = 0; b < byte; b++) if (!isPrintable(b)) hidden++;
  return String.fromCharCode(256 + hidden);
}

/** Uniform in -1..1, the same numbers for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2147483648 - 1;
  };
}
