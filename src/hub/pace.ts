/**
 * How many connections downloads use: starts with a few, opens more while that makes the whole faster, closes some when
 * servers push back, never more than the bound; and which single connection is so slow that another one should take its
 * place. Pure: rates and pressure come in, numbers go out.
 */

export type Pace = {
  /** Connections to use now, all downloads together. */
  readonly width: number;
  /** Rate that was seen when the width last grew, bytes per second; 0 before there was one. */
  readonly rateBefore: number;
  /** Looks to pass before the width may grow again. */
  readonly rest: number;
};

export type Look = {
  /** Bytes per second since the last look. */
  readonly bytesPerS: number;
  /** Servers answered 429 or 503, or broke connections off, since the last look. */
  readonly pushedBack: boolean;
  /** More connections would have something to fetch. */
  readonly hasWork: boolean;
};

const firstWidth = 8;
/** The share of the hoped-for gain that a step must have brought for another step to be worth it. */
const worthwhileGain = 0.5;
const restLooks = 20;

export function startPace(maxWidth: number): Pace {
  return { width: Math.min(firstWidth, maxWidth), rateBefore: 0, rest: 1 };
}

/** The width from now on. Grows by half each time it helped; halves when servers push back. */
export function nextPace(pace: Pace, look: Look, maxWidth: number): Pace {
  if (look.pushedBack) {
    return { width: Math.max(1, Math.floor(pace.width / 2)), rateBefore: 0, rest: restLooks };
  }
  if (!look.hasWork || look.bytesPerS <= 0) return pace;
  if (pace.rest > 0) return { ...pace, rest: pace.rest - 1 };
  const grown = Math.min(maxWidth, Math.ceil(pace.width * 1.5));
  if (grown === pace.width) return pace;
  const before = Math.ceil(pace.width / 1.5);
  const hoped = pace.width / before - 1;
  const gained = pace.rateBefore === 0 ? hoped : look.bytesPerS / pace.rateBefore - 1;
  if (gained < hoped * worthwhileGain) return { ...pace, rateBefore: look.bytesPerS, rest: restLooks };
  return { width: grown, rateBefore: look.bytesPerS, rest: 1 };
}

/** Divides `width` connections between downloads that can use `wants[i]`; each gets one at least. */
export function shareWidth(width: number, wants: readonly number[]): number[] {
  const shares = wants.map(() => 1);
  let left = width - wants.length;
  while (left > 0) {
    const hungry = wants.flatMap((want, index) => ((shares[index] ?? 0) < want ? [index] : []));
    if (hungry.length === 0) break;
    for (const index of hungry.slice(0, left)) shares[index] = (shares[index] ?? 0) + 1;
    left -= hungry.length;
  }
  return shares;
}

/** Below an eighth of what the middle one of the others does, a connection has drawn a bad server or route. */
const laggardShare = 8;

/**
 * @param bytesPerS of the connection, over a window it has been busy for
 * @param others of the other busy connections over the same window, in any order
 */
export function isTooSlow(bytesPerS: number, others: readonly number[], floorBytesPerS: number): boolean {
  if (bytesPerS < floorBytesPerS) return true;
  const sorted = others.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return middle !== undefined && sorted.length >= 2 && bytesPerS * laggardShare < middle;
}
