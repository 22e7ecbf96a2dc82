/**
 * Which slot takes a request and what a batch is made of: the engine's two scheduling decisions, as pure functions.
 */

/** A sequence of the context and what it still holds of its last request. */
export type SlotState = {
  /** Whose tokens these are; another scope must never profit from them (timing would tell what others have asked). */
  readonly scope: string;
  readonly tokens: readonly number[];
  readonly isBusy: boolean;
  /** Running number of its last use, 0 for never. */
  readonly lastUse: number;
};

/**
 * The free slot that shares the longest beginning with the prompt within its scope, else the one unused for longest.
 * `reused` tokens need not be computed again; at least the prompt's last token always is, as its logits are needed.
 * Null when every slot is busy.
 */
export function chooseSlot(
  slots: readonly SlotState[],
  scope: string,
  prompt: readonly number[],
): { index: number; reused: number } | null {
  let best: { index: number; reused: number; lastUse: number } | null = null;
  for (const [index, slot] of slots.entries()) {
    if (slot.isBusy) continue;
    const reused = slot.scope === scope ? Math.min(sharedLength(slot.tokens, prompt), prompt.length - 1) : 0;
    if (best === null || reused > best.reused || (reused === best.reused && slot.lastUse < best.lastUse)) {
      best = { index, reused, lastUse: slot.lastUse };
    }
  }
  return best === null ? null : { index: best.index, reused: best.reused };
}

function sharedLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let at = 0;
  while (at < end && a[at] === b[at]) at++;
  return at;
}

/**
 * How many tokens of each job go into the next batch. A job that is generating always gets its one token. What is left
 * of `promptBudget` goes to prompts, `waiting` being in order of arrival: half of it to the oldest, so that a long
 * prompt moves on, then to the shortest, so that a short one need not wait for it, then the rest to the oldest again.
 */
export function planBatch(
  generating: number,
  waiting: readonly number[],
  promptBudget: number,
  batchTokens: number,
): readonly number[] {
  let left = Math.max(0, Math.min(promptBudget, batchTokens - generating));
  if (waiting.length === 0) return [];
  const takes = waiting.map(() => 0);
  const give = (index: number, most: number) => {
    const taken = Math.min(most, left, (waiting[index] ?? 0) - (takes[index] ?? 0));
    takes[index] = (takes[index] ?? 0) + taken;
    left -= taken;
  };
  give(0, Math.ceil(left / 2));
  const shortestFirst = [...waiting.keys()].slice(1).sort((a, b) => (waiting[a] ?? 0) - (waiting[b] ?? 0));
  for (const index of shortestFirst) give(index, left);
  give(0, left);
  return takes;
}

/** What prompts may add to a step: it bounds how late a cancellation or a neighbour's next token comes. */
const longestPromptMs = 60;
const leastPromptTokens = 8;

/**
 * Prompt tokens to allow in the next step, from how long this one took, of whose tokens each counts for the same. What answers
 * take is not held against prompts: with a large model and many answers, these would else hardly move on.
 */
export function nextPromptBudget(
  budget: number,
  step: { readonly promptTokens: number; readonly answers: number; readonly tookMs: number },
  batchTokens: number,
): number {
  const { promptTokens, answers, tookMs } = step;
  if (promptTokens === 0) return budget;
  const promptMs = (tookMs * promptTokens) / (promptTokens + answers);
  if (promptMs > longestPromptMs) {
    // As many as there are answers add no more than these take themselves.
    return Math.max(leastPromptTokens, Math.min(budget, answers), Math.floor(budget / 2));
  }
  if (promptTokens >= budget && promptMs < longestPromptMs / 2) return Math.min(batchTokens, budget * 2);
  return budget;
}
