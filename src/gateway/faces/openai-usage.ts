/**
 * What Berth says of an answer's use: the engine's count with the cost, and the tier it was served in. Edits an answer's
 * bytes in place, so that all else stays as the engine wrote it. Pure. Owns the OpenAI form of usage as DeepInfra extends
 * it; must not know streams.
 */
import { costNanoUsd, type TokenPrices, type TokenUsage } from "../../core/usage.ts";
import { type ScannedObject, scanObject, textOf, writeObject } from "../json-scan.ts";
import type { ServiceTier } from "./face.ts";

export type UsageTerms = {
  readonly prices: TokenPrices;
  /** Told to the client where it asked for one. */
  readonly tier: ServiceTier | null;
  /** False: the client does not want to hear of usage. Berth counts all the same. */
  readonly isUsageShown: boolean;
};

const nanoUsd = 1e9;

/** What an engine says of an answer's use. */
export type EngineUsage = {
  readonly tokens: TokenUsage;
  /** As it wrote them. They belong to whoever has read them. */
  readonly fields: Record<string, unknown>;
  readonly details: Record<string, unknown>;
};

/** The engine's usage in this object; null when it says nothing of it. */
export function readUsage(object: ScannedObject): EngineUsage | null {
  const slice = object.entries.get("usage");
  const fields = slice === undefined ? null : asRecord(JSON.parse(textOf(object, slice)));
  if (fields === null) return null;
  const details = asRecord(fields.prompt_tokens_details) ?? {};
  const tokens = {
    inputTokens: count(fields.prompt_tokens),
    outputTokens: count(fields.completion_tokens),
    cachedTokens: count(details.cached_tokens),
  };
  return { tokens, fields, details };
}

/** JSON text of the usage as clients get it; what is said here is put into the engine's own words. */
export function describeUsage({ tokens, fields, details }: EngineUsage, prices: TokenPrices): string {
  details.cached_tokens = tokens.cachedTokens;
  fields.prompt_tokens ??= 0;
  fields.prompt_tokens_details = details;
  fields.estimated_cost = costNanoUsd(tokens, prices) / nanoUsd;
  return JSON.stringify(fields);
}

/** A whole answer with what Berth says put in; null where it is none: every answer is a JSON object. */
export function finishAnswer(
  json: Buffer,
  terms: UsageTerms,
): { bytes: Buffer; usage: TokenUsage | null } | null {
  const object = scanObject(json);
  if (object === null) return null;
  const usage = readUsage(object);
  if (usage === null) return { bytes: json, usage: null };
  return { bytes: withUsage(object, describeUsage(usage, terms.prices), terms), usage: usage.tokens };
}

/** @param usageJson JSON text of the usage; null takes it out */
export function withUsage(object: ScannedObject, usageJson: string | null, { tier }: UsageTerms): Buffer {
  let bytes: Buffer = object.bytes;
  if (usageJson !== null) bytes = withEntry(object, "usage", usageJson);
  else if (object.entries.has("usage")) bytes = writeObject(object, (name) => name !== "usage", new Map());
  if (tier === null) return bytes;
  return withEntry(scanObject(bytes) ?? object, "service_tier", JSON.stringify(tier));
}

/** The object's text with the entry's value replaced where it stands, or with the entry added at the end. */
function withEntry({ bytes, entries }: ScannedObject, name: string, json: string): Buffer {
  const slice = entries.get(name);
  const end = bytes.lastIndexOf("}");
  const [from, to] = slice === undefined ? [end, end] : [slice.start, slice.end];
  const comma = entries.size > 0 ? "," : "";
  const text = slice === undefined ? `${comma}${JSON.stringify(name)}:${json}` : json;
  return Buffer.concat([bytes.subarray(0, from), Buffer.from(text), bytes.subarray(to)]);
}

/**
 * Puts the cost into the last bytes of an answer that is too long to be held whole.
 * @param tail the end of one JSON object, cut anywhere
 */
export function finishTail(tail: Buffer, terms: UsageTerms): { bytes: Buffer; usage: TokenUsage | null } {
  const unchanged = { bytes: tail, usage: null };
  const key = tail.lastIndexOf('"usage"');
  const open = tail.indexOf("{", key);
  if (key === -1 || open === -1) return unchanged;
  // Usage holds no texts: its brackets can be counted.
  let depth = 0;
  let end = open;
  for (; end < tail.length; end += 1) {
    if (tail[end] === 0x7b) depth += 1;
    else if (tail[end] === 0x7d) depth -= 1;
    if (depth === 0) break;
  }
  const object = scanObject(Buffer.concat([Buffer.from("{"), tail.subarray(key, end + 1), Buffer.from("}")]));
  const usage = object === null ? null : readUsage(object);
  if (usage === null) return unchanged;
  const json = `"usage":${describeUsage(usage, terms.prices)}`;
  const bytes = Buffer.concat([tail.subarray(0, key), Buffer.from(json), tail.subarray(end + 1)]);
  return { bytes, usage: usage.tokens };
}

function asRecord(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
