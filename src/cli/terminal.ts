/**
 * What text looks like on a terminal: control sequences of others taken out, colours where they are wanted, tables.
 * Pure. Text that came from a server must pass `plain` or `plainBlock` before it is written anywhere but as JSON.
 */
import { stripVTControlCharacters } from "node:util";

// Cc: what steers a terminal, ESC among it. The others reorder text, so that a line reads as something else.
const controls = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;
const controlsButBreaks = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** One line: no control sequences, no line breaks. */
export function plain(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\s*[\r\n\t]+\s*/g, " ")
    .replace(controls, "");
}

/** Several lines: line breaks and tabs stay. Safe also on a piece of a stream, whose sequences may be cut anywhere. */
export function plainBlock(text: string): string {
  return stripVTControlCharacters(text).replace(controlsButBreaks, "");
}

/** JSON whose text cannot steer a terminal either: JSON escapes C0 itself, but not DEL and C1. */
export function printableJson(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replace(
    /(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A text as one word of a shell line, quoted where it needs to be; control characters are taken out. */
export function shellWord(text: string): string {
  const word = plain(text);
  return /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export type Paint = (text: string) => string;
export type Palette = {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
};

/** Colours for a stream: none unless it is a terminal, none where NO_COLOR is set or the terminal is dumb. */
export function paletteFor(isTty: boolean, env: Readonly<Record<string, string | undefined>>): Palette {
  const isOn = isTty && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
  const paint =
    (on: number, off: number): Paint =>
    (text) =>
      isOn && text !== "" ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
  };
}

/** Green for what works, red for what failed, yellow for what is under way. */
export function paintStatus(palette: Palette, status: string): Paint {
  if (status === "running") return palette.green;
  if (status === "failed") return palette.red;
  if (status === "stopped" || status === "deleted") return palette.dim;
  return palette.yellow;
}

export type Cell = { readonly text: string; readonly paint?: Paint };

/** Aligned columns, two spaces apart, no trailing spaces; `plain` is applied to every cell. */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  palette: Palette,
): string {
  const all = [head.map((text): Cell => ({ text, paint: palette.dim })), ...rows];
  const clean = all.map((row) => row.map((cell) => ({ ...cell, text: plain(cell.text) })));
  const widths = head.map((_, column) => Math.max(...clean.map((row) => row[column]?.text.length ?? 0)));
  return clean
    .map((row) =>
      row
        .map((cell, column) => {
          const padding =
            column === row.length - 1 ? "" : " ".repeat((widths[column] ?? 0) - cell.text.length);
          return (cell.paint ?? ((text: string) => text))(cell.text) + padding;
        })
        .join("  "),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** "name  value" lines with the names aligned and dim, indented by two. */
export function renderFacts(facts: readonly (readonly [string, string])[], palette: Palette): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `  ${palette.dim(name.padEnd(width))}  ${plain(value)}\n`).join("");
}
