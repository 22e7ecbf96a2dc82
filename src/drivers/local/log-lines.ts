/**
 * Engine output as lines with times. Engines write raw text without times, so the time of a line is that of the first
 * sample whose end lies behind the line's start: right to within one sampling pause. Pure.
 */
import { maskSecrets, stripControl } from "./mask.ts";

export type LogLine = { readonly atMs: number; readonly text: string };

/** Everything before byte `end` of the file had been written at `atMs`. */
export type Sample = { readonly end: number; readonly atMs: number };

/** Longer lines are cut. */
const maxLineLength = 4_096;

/**
 * Splits raw output. A carriage return ends a line too: progress bars use it.
 * @param start byte offset in the file at which `bytes` begin; when not 0, a cut first line is left out
 * @param lastAtMs time of what no sample covers: when the file was last written
 */
export function readRawLines(
  bytes: Buffer,
  start: number,
  samples: readonly Sample[],
  lastAtMs: number,
  secrets: readonly string[],
): LogLine[] {
  const lines: LogLine[] = [];
  let sampleIndex = 0;
  let lineStart = start === 0 ? 0 : endOfLine(bytes, 0) + 1;
  while (lineStart < bytes.length) {
    const lineEnd = endOfLine(bytes, lineStart);
    const text = cleanLine(
      bytes.toString("utf8", lineStart, Math.min(lineEnd, lineStart + 4 * maxLineLength)),
      secrets,
    );
    if (text !== "") {
      while ((samples[sampleIndex]?.end ?? Number.POSITIVE_INFINITY) <= start + lineStart) sampleIndex += 1;
      lines.push({ atMs: samples[sampleIndex]?.atMs ?? lastAtMs, text });
    }
    lineStart = lineEnd + 1;
  }
  return lines;
}

function endOfLine(bytes: Buffer, from: number): number {
  for (let index = from; index < bytes.length; index += 1) {
    if (bytes[index] === 0x0a || bytes[index] === 0x0d) return index;
  }
  return bytes.length;
}

function cleanLine(raw: string, secrets: readonly string[]): string {
  const text = maskSecrets(stripControl(raw), secrets).trimEnd();
  return text.length > maxLineLength ? `${text.slice(0, maxLineLength)}…` : text;
}

/** The newest lines that together take at most `maxBytes` (as characters; near enough for a bound). */
export function newest(lines: readonly LogLine[], maxBytes: number): LogLine[] {
  let bytes = 0;
  let first = lines.length;
  while (first > 0) {
    bytes += (lines[first - 1]?.text.length ?? 0) + 16;
    if (bytes > maxBytes) break;
    first -= 1;
  }
  return lines.slice(first);
}

/** Lines as they are kept of the past: `<milliseconds> <text>`, already masked. */
export function formatPast(lines: readonly LogLine[]): string {
  return lines.map((line) => `${line.atMs} ${line.text}\n`).join("");
}

export function parsePast(text: string): LogLine[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d{1,15}) (.+)$/s.exec(line);
    return match === null ? [] : [{ atMs: Number(match[1]), text: match[2] ?? "" }];
  });
}

/** Samples as they are kept beside the file: `<end> <milliseconds>` a line; damaged lines are left out. */
export function parseSamples(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d{1,15}) (\d{1,15})$/.exec(line);
    return match === null ? [] : [{ end: Number(match[1]), atMs: Number(match[2]) }];
  });
}
