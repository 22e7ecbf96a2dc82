/**
 * Integer ranges as GBNF: which decimal texts lie between two bounds, digit by digit. Pure; part of the schema converter.
 */

/** Longest number written when a side is open, as in the converter's plain `integer`. */
const farthest = 9_999_999_999_999_999n;

/** An expression for all integers from `least` to `most` (null: open, up to 16 digits); null when there is none. */
export function integerRange(least: number | null, most: number | null): string | null {
  const low = least === null ? -farthest : BigInt(least);
  const high = most === null ? farthest : BigInt(most);
  if (low > high) return null;
  const options: string[] = [];
  if (low < 0n) {
    const from = high < 0n ? -high : 1n;
    options.push(...naturals(from, -low).map((option) => `"-" ${option}`));
  }
  if (high >= 0n) options.push(...naturals(low > 0n ? low : 0n, high));
  return options.join(" | ");
}

/** Alternatives for the natural numbers from `low` to `high`, one or more for each length. */
function naturals(low: bigint, high: bigint): string[] {
  const options: string[] = [];
  for (let from = low; from <= high; ) {
    const longest = BigInt("9".repeat(String(from).length));
    const to = longest < high ? longest : high;
    options.push(sameLength(String(from), String(to)));
    from = to + 1n;
  }
  return options;
}

/** All digit strings from `low` to `high`, which have the same length. */
function sameLength(low: string, high: string): string {
  if (low === "") return '""';
  if (/^0*$/.test(low) && /^9*$/.test(high)) return `[0-9]{${low.length}}`;
  const [lowFirst = "0", lowRest] = [low[0], low.slice(1)];
  const [highFirst = "9", highRest] = [high[0], high.slice(1)];
  if (lowFirst === highFirst) return join(digits(lowFirst, lowFirst), sameLength(lowRest, highRest));
  const zeros = "0".repeat(lowRest.length);
  const nines = "9".repeat(lowRest.length);
  const options: string[] = [];
  const isLowPart = lowRest !== zeros;
  const isHighPart = highRest !== nines;
  if (isLowPart) options.push(join(digits(lowFirst, lowFirst), sameLength(lowRest, nines)));
  const middle = [Number(lowFirst) + (isLowPart ? 1 : 0), Number(highFirst) - (isHighPart ? 1 : 0)] as const;
  if (middle[0] <= middle[1]) {
    options.push(join(digits(String(middle[0]), String(middle[1])), sameLength(zeros, nines)));
  }
  if (isHighPart) options.push(join(digits(highFirst, highFirst), sameLength(zeros, highRest)));
  return options.length === 1 ? (options[0] ?? "") : `(${options.join(" | ")})`;
}

function digits(from: string, to: string): string {
  return from === to ? `"${from}"` : `[${from}-${to}]`;
}

function join(first: string, rest: string): string {
  return rest === '""' ? first : `${first} ${rest}`;
}
