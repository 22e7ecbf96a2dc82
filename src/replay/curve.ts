/**
 * Comparing scaling policies by their whole curves: what share of requests each serves well for how many GPU-hours. A setting
 * is tuned on one half of a trace and scored on the other. Pure; runs nothing.
 */

/** What a setting gave for a half of a trace. */
export type Half = { readonly gpuHours: number; readonly share: number };
export type Tried = {
  readonly settings: Readonly<Record<string, number>>;
  /** Where it was chosen. */
  readonly tuned: Half;
  /** Where it counts. */
  readonly scored: Half;
};

/** The settings that one would choose: no other serves as many as well for less, where it was tuned. Cheapest first. */
export function frontOf(tried: readonly Tried[]): Tried[] {
  const byCost = tried.toSorted(
    (a, b) => a.tuned.gpuHours - b.tuned.gpuHours || b.tuned.share - a.tuned.share,
  );
  let best = -1;
  return byCost.filter(({ tuned }) => {
    const isBetter = tuned.share > best;
    best = Math.max(best, tuned.share);
    return isBetter;
  });
}

/** The cheapest setting that reached a share where it was tuned; undefined when none did. */
export function chosenFor(goal: number, front: readonly Tried[]): Tried | undefined {
  return front.find(({ tuned }) => tuned.share >= goal);
}

/** What the front's settings gave where they count, between two of them by a straight line; null outside. */
export function shareAt(gpuHours: number, front: readonly Tried[]): number | null {
  const points = scoresOf(front);
  const after = points.findIndex((point) => point.gpuHours >= gpuHours);
  const [right, left] = [points[after], points[after - 1]];
  if (right === undefined) return null;
  if (left === undefined) return right.gpuHours === gpuHours ? right.share : null;
  const part = (gpuHours - left.gpuHours) / (right.gpuHours - left.gpuHours);
  return left.share + part * (right.share - left.share);
}

/** The fewest GPU-hours for a share, on the same line; null when it is not reached. */
export function hoursFor(share: number, front: readonly Tried[]): number | null {
  const points = scoresOf(front);
  const after = points.findIndex((point) => point.share >= share);
  const [right, left] = [points[after], points[after - 1]];
  if (right === undefined) return null;
  if (left === undefined) return right.gpuHours;
  const part = (share - left.share) / (right.share - left.share);
  return left.gpuHours + part * (right.gpuHours - left.gpuHours);
}

/** One point of another's curve beside this one. */
export type Beside = {
  readonly other: Half;
  /** At the same GPU-hours; null where this one has no point on either side. */
  readonly share: number | null;
  readonly verdict: "better" | "equal" | "worse" | "not compared";
};

export type Comparison = {
  readonly points: readonly Beside[];
  /** Mean difference of the share at equal GPU-hours; above 0 when this one serves more. */
  readonly shareMore: number;
  /** Mean part of the GPU-hours that this one saves at equal share; above 0 when it needs fewer. */
  readonly hoursSaved: number;
};

/** Less than this is no difference: a handful of requests. */
const equalWithin = 0.0005;
/** As much for so much less is better too. */
const enoughSaved = 0.15;

/** Each point of `other`'s curve beside `own` at the same GPU-hours, and at the same share. */
export function compare(own: readonly Tried[], other: readonly Tried[]): Comparison {
  const points: Beside[] = [];
  const differences: number[] = [];
  const saved: number[] = [];
  for (const { scored } of other) {
    const share = shareAt(scored.gpuHours, own);
    if (share === null) {
      points.push({ other: scored, share, verdict: "not compared" });
      continue;
    }
    const more = share - scored.share;
    const hours = hoursFor(scored.share, own);
    const less = hours === null ? 0 : 1 - hours / scored.gpuHours;
    const isBetter = more > equalWithin || (more >= -equalWithin && less >= enoughSaved);
    points.push({
      other: scored,
      share,
      verdict: isBetter ? "better" : more >= -equalWithin ? "equal" : "worse",
    });
    differences.push(more);
    if (hours !== null) saved.push(less);
  }
  return { points, shareMore: mean(differences), hoursSaved: mean(saved) };
}

function scoresOf(front: readonly Tried[]): Half[] {
  return front.map(({ scored }) => scored).toSorted((a, b) => a.gpuHours - b.gpuHours);
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
