/**
 * What a trace says: when requests came, how long their prompts and answers were. Reads its lines, each by itself, and says in
 * a sentence what is wrong with one. Must not read files.
 *
 * Three forms, told apart by the first line: CSV with a head (Azure's TIMESTAMP, ContextTokens, GeneratedTokens, or time,
 * prompt_tokens, generated_tokens), CSV without one (in that order), and lines of JSON: a backup of Berth, whose records of
 * usage are taken, or such records by themselves.
 */
import { z } from "zod";

export type TraceRequest = {
  /** Milliseconds; from when is all the same. */
  readonly atMs: number;
  /** At least 1. */
  readonly promptTokens: number;
  /** At least 1. */
  readonly generatedTokens: number;
};

/** Something is wrong with a trace; the message names the line and says what to do. */
export class TraceError extends Error {}

/** Null for a line that says nothing: an empty one, a head, a record of what was no request. */
export type ReadLine = (line: string, number: number) => TraceRequest | null;

const names = {
  time: ["timestamp", "time", "arrived_at", "startedatms"],
  prompt: ["contexttokens", "prompt_tokens", "input_tokens", "inputtokens"],
  generated: ["generatedtokens", "generated_tokens", "output_tokens", "outputtokens"],
};
/** Longer contexts are a slip of the pen. */
const mostTokens = 100_000_000;

/** Amounts that the engine did not count are 0. */
const tokens = z.number().int().min(0).max(mostTokens);
const record = z.object({
  startedAtMs: z.number(),
  inputTokens: tokens,
  outputTokens: tokens,
  model: z.string().optional(),
});
/** A line of `berth backup`: a row with its table's name. */
const row = z.tuple([z.string(), z.record(z.string(), z.unknown())]);
const recordsTable = "usage_records";
/** What else is known of a request is one column of its row. */
const details = z
  .string()
  .transform((text): unknown => JSON.parse(text))
  .pipe(z.record(z.string(), z.unknown()));

/**
 * @param first the trace's first line, by which its form is told
 * @param model full name: only its records are taken; null for all
 */
export function readerFor(first: string, model: string | null): ReadLine {
  if (/^\s*[{[]/.test(first)) return (line, number) => readJsonLine(line, number, model);
  if (model !== null)
    throw new TraceError(
      "--model is for records of Berth; a CSV trace does not say whose requests they are.",
    );
  const head = cells(first).map((cell) => cell.toLowerCase());
  if (head.some((cell) => cell !== "" && Number.isNaN(timeOf(cell)))) return readerOfColumns(head);
  return (line, number) => readCells(line, number, [0, 1, 2]);
}

function readerOfColumns(head: readonly string[]): ReadLine {
  const find = (what: keyof typeof names) => head.findIndex((cell) => names[what].includes(cell));
  const at = [find("time"), find("prompt"), find("generated")] as const;
  if (at.includes(-1)) {
    throw new TraceError(
      `Line 1 of the trace names no columns that are known (${head.join(", ")}). It has to name a time, prompt tokens and generated tokens: TIMESTAMP, ContextTokens, GeneratedTokens, or time, prompt_tokens, generated_tokens.`,
    );
  }
  return (line, number) => (number === 1 ? null : readCells(line, number, at));
}

function readCells(line: string, number: number, at: readonly [number, number, number]): TraceRequest | null {
  if (line.trim() === "") return null;
  const row = cells(line);
  const time = row[at[0]] ?? "";
  const atMs = timeOf(time);
  if (Number.isNaN(atMs)) {
    throw new TraceError(
      `Line ${number} of the trace has the time "${shorten(time)}", which is neither seconds nor a date such as 2023-11-16 18:15:46.68.`,
    );
  }
  return {
    atMs,
    promptTokens: count(row[at[1]], "prompt tokens", number),
    generatedTokens: count(row[at[2]], "generated tokens", number),
  };
}

function readJsonLine(line: string, number: number, model: string | null): TraceRequest | null {
  if (line.trim() === "") return null;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new TraceError(`Line ${number} of the trace is no JSON: "${shorten(line)}".`);
  }
  const given = recordIn(value);
  if (given === null) return null;
  const found = record.safeParse(given);
  if (!found.success) {
    const [issue] = found.error.issues;
    throw new TraceError(
      `Line ${number} of the trace is no record of a request: ${issue?.path.join(".") || "it"} is wrong (${issue?.message}). A record has startedAtMs, inputTokens and outputTokens.`,
    );
  }
  const { startedAtMs, inputTokens, outputTokens } = found.data;
  // What an engine never saw cost it nothing.
  if (inputTokens + outputTokens === 0 || (model !== null && found.data.model !== model)) return null;
  return {
    atMs: startedAtMs,
    promptTokens: Math.max(1, inputTokens),
    generatedTokens: Math.max(1, outputTokens),
  };
}

/** Null for a backup's head, end and other rows. */
function recordIn(value: unknown): unknown {
  const isRow = row.safeParse(value);
  if (isRow.success) {
    const [table, found] = isRow.data;
    if (table !== recordsTable) return null;
    return { ...details.catch({}).parse(found.details), startedAtMs: found.started_at_ms };
  }
  const isFrame = typeof value === "object" && value !== null && ("format" in value || "sha256" in value);
  return isFrame ? null : value;
}

/** Neither numbers nor dates have commas or quotation marks in them. */
function cells(line: string): string[] {
  return line.split(",").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
}

/** Seconds, or a date of ISO 8601 with a space or a T; without a zone it is in UTC. NaN for neither. */
function timeOf(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/i.exec(text);
  if (match === null) return Number.NaN;
  const [, day, time, fraction = "", zone = "Z"] = match;
  return Date.parse(`${day}T${time}${zone.toUpperCase()}`) + Number(`0${fraction}`) * 1000;
}

function count(text: string | undefined, what: string, line: number): number {
  const value = Number(text === undefined || text === "" ? Number.NaN : text);
  if (Number.isInteger(value) && value >= 0 && value <= mostTokens) return Math.max(1, value);
  throw new TraceError(
    `Line ${line} of the trace has "${shorten(text ?? "")}" for its ${what}, where a whole number is expected.`,
  );
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
