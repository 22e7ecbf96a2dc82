/**
 * Several pieces of work at a time, as the files of a fetch are brought: bounded in width, ended together.
 */

/** Works on at most `width` at a time; the first failure stops the others, and nothing runs on after the return. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const queue = items.values();
  const worker = async () => {
    try {
      for (const item of queue) await work(item, either);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  };
  await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, worker));
  either.throwIfAborted();
}
