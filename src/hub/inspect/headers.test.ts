import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GgufError } from "../../core/gguf-header.ts";
import { emptyModelHeader, readModelHeader } from "./gguf-tensors.ts";
import { readHeaderLength, sumTensors } from "./safetensors-header.ts";

const starter = join(import.meta.dirname, "../../../starter/model");

function lengthOf(bytes: bigint): Buffer {
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(bytes);
  return start;
}

describe("the length of a safetensors header", () => {
  test.each([
    ["larger than the format allows", 2n ** 63n, 10_000],
    ["larger than the format allows", 100_000_001n, 2 ** 40],
    ["longer than the file", 9_993n, 10_000],
  ])("that is %s is refused", (why, length, fileBytes) => {
    expect(readHeaderLength(lengthOf(length), fileBytes)).toEqual({
      ok: false,
      why: expect.stringContaining(why),
    });
  });

  test("of a file without room for it is refused", () => {
    expect(readHeaderLength(Buffer.alloc(3), 3).ok).toBe(false);
  });
});

describe("the tensors of a safetensors header", () => {
  const sums = (header: unknown, dataBytes: number, packedBits: number | null = null) => {
    const bytes = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
    return sumTensors(bytes, 8 + bytes.length + dataBytes, packedBits);
  };
  const tensor = (dtype: string, shape: unknown[], begin: number, end: number) => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  });

  test("are summed by format and part", () => {
    const header = {
      __metadata__: { format: "pt" },
      "model.embed_tokens.weight": tensor("BF16", [10, 4], 0, 80),
      "model.layers.0.self_attn.q_proj.weight": tensor("F32", [4, 4], 80, 144),
      "model.layers.0.mlp.experts.3.up_proj.weight": tensor("F8_E4M3", [4, 2], 144, 152),
      "model.norm.weight": tensor("BF16", [4], 152, 160),
    };
    expect(sums(header, 160)).toEqual({
      ok: true,
      value: {
        parameters: 40 + 16 + 8 + 4,
        bytes: 160,
        bytesByDtype: new Map([
          ["BF16", 88],
          ["F32", 64],
          ["F8_E4M3", 8],
        ]),
        bytesByPart: new Map([
          ["embedding", 80],
          ["attention", 64],
          ["routedExperts", 8],
          ["other", 8],
        ]),
      },
    });
  });

  test.each([
    ["GPTQ packs eight 4-bit weights into a number", "qweight", "I32", 4, 80],
    ["8-bit ones are four", "qweight", "I32", 8, 40],
    ["scales are no weights", "scales", "F16", 4, 0],
    ["microscaled blocks hold two", "mlp.experts.gate_up_proj_blocks", "U8", 4, 20],
  ])("%s", (_name, end, dtype, bits, parameters) => {
    const bytes = { I32: 40, F16: 20, U8: 10 }[dtype] ?? 0;
    const header = { [`model.layers.0.mlp.down_proj.${end}`]: tensor(dtype, [10], 0, bytes) };
    expect(sums(header, bytes, bits)).toMatchObject({ value: { parameters } });
  });

  test.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["no text at all", "\u0000"],
    ["deep nesting", `${"[".repeat(1_000_000)}`],
    ["deep nesting in an entry", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["an unknown format", { a: tensor("F17", [1], 0, 2) }],
    ["a format named like a property of every object", { a: tensor("constructor", [1], 0, 2) }],
    ["a shape that lies", { a: tensor("F16", [1000], 0, 2) }],
    ["a shape whose product is not a number", { a: tensor("F16", Array(16).fill(2 ** 52), 0, 2) }],
    ["too many dimensions", { a: tensor("F16", Array(17).fill(1), 0, 2) }],
    ["a negative size", { a: tensor("F16", [-1], 0, 2) }],
    ["an offset beyond the file", { a: tensor("F16", [100], 0, 200) }],
    ["an offset that goes back", { a: tensor("F16", [1], 4, 2) }],
    ["tensors that overlap", { a: tensor("F16", [50], 0, 100), b: tensor("F16", [50], 0, 100) }],
  ])("with %s are refused", (_name, header) => {
    expect(sums(header, 100).ok).toBe(false);
  });

  test("whatever the bytes are, there is an answer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.json(), (bytes, json) => {
        expect(typeof sumTensors(bytes, 1000, 4).ok).toBe("boolean");
        expect(typeof sumTensors(Buffer.from(json), 1000, null).ok).toBe("boolean");
      }),
    );
  });
});

/** Reads a header from a file at hand and counts what was asked for. */
function read(file: Uint8Array, fileBytes = file.byteLength, pieceBytes = 256) {
  const header = emptyModelHeader();
  const reading = readModelHeader(fileBytes, header);
  const asked: number[] = [];
  let step = reading.next();
  while (step.done !== true) {
    const { from, bytes } = step.value;
    asked.push(bytes);
    if (asked.length > 100_000) throw new Error("it asks for ever");
    step = reading.next(file.subarray(from, from + Math.max(bytes, pieceBytes)));
  }
  return { header, asked };
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number | bigint) => lengthOf(BigInt(value));
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const start = (tensors: number | bigint, keys: number | bigint, version = 3) =>
  Buffer.concat([Buffer.from("GGUF"), u32(version), u64(tensors), u64(keys)]);
const tensorInfo = (name: string, dimensions: readonly (number | bigint)[], format: number, offset: number) =>
  Buffer.concat([text(name), u32(dimensions.length), ...dimensions.map(u64), u32(format), u64(offset)]);

describe("a GGUF header", () => {
  test("of a real file is read, whatever the size of the pieces", () => {
    const file = readFileSync(join(starter, "berth-starter-F16.gguf"));
    const { header } = read(file);
    expect(header.values.get("general.architecture")).toBe("llama");
    expect(header.texts.has("tokenizer.chat_template")).toBe(true);
    expect(header.lengths.get("tokenizer.ggml.tokens")).toBeGreaterThan(100);
    expect(header.tensors?.bytes).toBeGreaterThan(file.length * 0.8);
    for (const pieceBytes of [1, 4096, 10_000_000]) {
      expect(read(file, file.length, pieceBytes).header).toEqual(header);
    }
  });

  test("skips long texts and lists of numbers without having them fetched", () => {
    const long = 50_000_000;
    const head = Buffer.concat([start(0, 2), text("long"), u32(8), u64(long)]);
    const after = Buffer.concat([text("answer"), u32(4), u32(42)]);
    const header = emptyModelHeader();
    const reading = readModelHeader(head.length + long + after.length, header);
    let fetched = 0;
    for (let step = reading.next(); step.done !== true; ) {
      const { from, bytes } = step.value;
      fetched += bytes;
      const piece =
        from < head.length
          ? head.subarray(from, from + bytes)
          : after.subarray(from - head.length - long, from - head.length - long + bytes);
      step = reading.next(piece);
    }
    expect(header.values.get("answer")).toBe(42);
    expect(header.texts.has("long")).toBe(true);
    expect(fetched).toBeLessThan(200);
  });

  test.each<[string, Buffer]>([
    ["another beginning", Buffer.from("GGML0000000000000000000000000000")],
    ["an old version", start(0, 0, 1)],
    ["no end", start(1, 1)],
    ["tensors without number", start(2n ** 63n, 0)],
    ["keys without number", start(0, 2n ** 40n)],
    ["a key of a gigabyte", Buffer.concat([start(0, 1), u64(2 ** 30), Buffer.alloc(64)])],
    ["a text longer than the file", Buffer.concat([start(0, 1), text("a"), u32(8), u64(2 ** 40)])],
    ["a length that no file has", Buffer.concat([start(0, 1), text("a"), u32(8), u64(2n ** 63n)])],
    ["a value of an unknown type", Buffer.concat([start(0, 1), text("a"), u32(99), Buffer.alloc(64)])],
    ["a list of an unknown type", Buffer.concat([start(0, 1), text("a"), u32(9), u32(77), u64(2)])],
    ["a list longer than the file", Buffer.concat([start(0, 1), text("a"), u32(9), u32(0), u64(2 ** 40)])],
    ["texts more than the file", Buffer.concat([start(0, 1), text("a"), u32(9), u32(8), u64(2 ** 50)])],
    [
      "lists in lists in lists",
      Buffer.concat([
        start(0, 1),
        text("a"),
        ...Array.from({ length: 50 }, () => [u32(9), u32(9), u64(1)]).flat(),
      ]),
    ],
    ["a tensor larger than the file", Buffer.concat([start(1, 0), tensorInfo("a", [2 ** 40], 0, 0)])],
    [
      "a tensor of overflowing shape",
      Buffer.concat([start(1, 0), tensorInfo("a", [2 ** 40, 2 ** 40], 0, 0)]),
    ],
    ["a tensor of an unknown format", Buffer.concat([start(1, 0), tensorInfo("a", [1], 4000, 0)])],
    ["a tensor of many dimensions", Buffer.concat([start(1, 0), tensorInfo("a", Array(9).fill(1), 0, 0)])],
    [
      "tensors that share their bytes",
      Buffer.concat([start(3, 0), ...["a", "b", "c"].map((name) => tensorInfo(name, [40], 0, 0))]),
    ],
  ])("with %s is refused", (_name, file) => {
    expect(() => read(file)).toThrow(GgufError);
  });

  test("whatever the bytes are, it ends with a header or a refusal", () => {
    const file = readFileSync(join(starter, "berth-starter-F16.gguf")).subarray(0, 3000);
    fc.assert(
      fc.property(fc.nat(2999), fc.integer({ min: 0, max: 255 }), fc.nat(2999), (at, value, end) => {
        const changed = Buffer.from(file);
        changed[at] = value;
        try {
          read(changed.subarray(0, end));
        } catch (error) {
          expect(error).toBeInstanceOf(GgufError);
        }
      }),
    );
  });
});
