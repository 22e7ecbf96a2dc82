/**
 * What the head of a GGUF file says of its model, as far as serving needs it: the vocabulary, the chat template, the sizes of
 * the cache, what its maker recommends. Reads the first piece of the file alone, and believes no value before it has looked.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import {
  emptyGgufHeader,
  GgufCursor,
  type GgufHeader,
  type GgufValue,
  readGgufKeys,
} from "../../core/gguf-header.ts";
import type { ArchitectureMetadata } from "./capacity.ts";

/** What a model's maker recommends; null where the file says nothing. */
export type SamplingDefaults = {
  readonly temperature: number | null;
  readonly topP: number | null;
  readonly topK: number | null;
  readonly minP: number | null;
};

export type ModelHead = {
  /** "llama", "qwen3": the family by llama.cpp's name. */
  readonly family: string;
  readonly architecture: ArchitectureMetadata;
  /** The tokenizer's kind (`tokenizer.ggml.model`). */
  readonly tokenizer: string;
  readonly tokens: readonly string[];
  readonly tokenTypes: readonly number[];
  readonly chatTemplate: string | null;
  readonly samplingDefaults: SamplingDefaults;
};

const tokensKey = "tokenizer.ggml.tokens";
const typesKey = "tokenizer.ggml.token_type";
const templateKey = "tokenizer.chat_template";
const keptWhole = new Set([tokensKey, typesKey, templateKey]);

/** Read at a time: the head of a file with a large vocabulary has several of them. */
const pieceBytes = 1_048_576;

/** @throws GgufError for what is no header, and the system's error for a file that cannot be read */
export function readModelHead(path: string): ModelHead {
  return describeHead(readHeader(path));
}

function readHeader(path: string): GgufHeader {
  const file = openSync(path, "r");
  try {
    const fileBytes = fstatSync(file).size;
    const header = emptyGgufHeader();
    const reading = readGgufKeys(new GgufCursor(fileBytes), header, keptWhole);
    let step = reading.next();
    while (step.done !== true) {
      const { from, bytes } = step.value;
      const piece = new Uint8Array(Math.min(Math.max(bytes, pieceBytes), fileBytes - from));
      step = reading.next(piece.subarray(0, readSync(file, piece, 0, piece.length, from)));
    }
    return header;
  } finally {
    closeSync(file);
  }
}

function describeHead({ values, lists }: GgufHeader): ModelHead {
  const family = textOf(values.get("general.architecture")) ?? "";
  const template = textOf(values.get(templateKey));
  return {
    family,
    architecture: readArchitecture((name) => values.get(`${family}.${name}`)),
    tokenizer: textOf(values.get("tokenizer.ggml.model")) ?? "",
    tokens: lists.get(tokensKey) ?? [],
    tokenTypes: numbersOf(values.get(typesKey)) ?? [],
    chatTemplate: template,
    samplingDefaults: readSamplingDefaults((name) => values.get(`general.sampling.${name}`)),
  };
}

type Values = (name: string) => GgufValue | undefined;

function readArchitecture(values: Values): ArchitectureMetadata {
  const one = (name: string) => numberOf(values(name));
  const oneOrMany = (name: string) => one(name) ?? numbersOf(values(name));
  return dropAbsent({
    block_count: one("block_count"),
    embedding_length: one("embedding_length"),
    attention: dropAbsent({
      head_count: oneOrMany("attention.head_count"),
      head_count_kv: oneOrMany("attention.head_count_kv"),
      key_length: one("attention.key_length"),
      value_length: one("attention.value_length"),
      kv_lora_rank: one("attention.kv_lora_rank"),
    }),
    rope: dropAbsent({ dimension_count: one("rope.dimension_count") }),
  });
}

/** What is out of range counts as not said. */
function readSamplingDefaults(values: Values): SamplingDefaults {
  const within = (name: string, min: number, max: number) => {
    const value = numberOf(values(name));
    return value !== undefined && value >= min && value <= max ? value : null;
  };
  return {
    temperature: within("temp", 0, 2),
    topP: within("top_p", 0, 1),
    topK: within("top_k", 0, 1_000_000),
    minP: within("min_p", 0, 1),
  };
}

function textOf(value: GgufValue | undefined): string | null {
  return typeof value === "string" ? value : null;
}

function numberOf(value: GgufValue | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function numbersOf(value: GgufValue | undefined): readonly number[] | undefined {
  return Array.isArray(value) && value.every((one) => typeof one === "number") ? value : undefined;
}

/** Without the fields that have no value. */
function dropAbsent<T extends object>(fields: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}
