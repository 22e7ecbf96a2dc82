/**
 * The last thing a program printed, as it goes into a sentence: one line, bounded, without an end of its own and without paths,
 * which are the machine's own matter. Pure.
 */

const longest = 200;

/** Null where it printed nothing. */
export function lastWords(lines: readonly string[]): string | null {
  const last = lines.findLast((line) => line.trim() !== "");
  return last === undefined
    ? null
    : last
        .trim()
        .replace(/(^|[\s'"=(])(?:\/[^\s'"():,]+)+/g, "$1a file")
        .slice(0, longest)
        .replace(/[.!]*$/, "");
}
