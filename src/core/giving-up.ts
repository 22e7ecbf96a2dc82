/**
 * When trying again makes no sense any more, and the sentence that says how often it was tried. Pure. One that has never run is
 * given up after a few tries; one that has run gets many more, and none is given up while an instance of it serves.
 */
import type { Tries } from "./deployment.ts";
import { type Failure, failureCodes } from "./failure.ts";

/** An instance that ran this long has recovered: its earlier tries are forgotten. */
export const stableMs = 60_000;

/** What no further try can mend; null while there is hope. */
export function lostCause({ count, lastFailure }: Tries, most: number): Failure | null {
  if (lastFailure === null) return null;
  if (!failureCodes[lastFailure.code].retryable) return lastFailure;
  return count < most
    ? null
    : after(lastFailure, count === 1 ? "It was tried once." : `It was tried ${count} times.`);
}

/** The same for one that has run: it worked once, so only the number counts. @param most 0: never */
export function lostAgain({ count, lastFailure }: Tries, most: number): Failure | null {
  if (lastFailure === null || most === 0 || count < most) return null;
  return after(
    lastFailure,
    `It has ended ${count} times in a row without running for ${stableMs / 1000} s in between.`,
  );
}

function after(last: Failure, sentence: string): Failure {
  return { ...last, next: `${sentence} ${last.next}` };
}
