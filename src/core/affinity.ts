/**
 * Which instance has the beginning of a prompt cached, as far as a gateway can know: it remembers which beginnings it sent
 * where. Pure. Owns the keys of beginnings, which mix in the account, so that nobody's requests are drawn to where another
 * account's prompts are. Must not choose the instance (balance.ts does).
 */

/** Bytes of a block; about 64 tokens of English. */
export const blockBytes = 256;
/** Each of the first blocks has a key of its own; after them a key stands for several, so that long prompts stay cheap. */
const fineKeys = 16;
const blocksPerCoarseKey = 8;
/** Keys of a prompt that are looked at: 256 KB. */
const maxKeys = fineKeys + 126;
/** Keys remembered for an instance: some ten million tokens, more than engines hold. */
const maxKeysPerInstance = 32_768;

/**
 * Keys of a prompt's beginnings, the shortest first: the n-th stands for its first `blocksOf(n)` blocks. Two prompts of one account
 * that begin alike have these keys in common. Keys of different beginnings are equal by bad luck alone, which costs a
 * cache hit and nothing else.
 */
export function prefixKeys(account: string, prompt: Uint8Array): number[] {
  let high = mixText(0x811c9dc5, account);
  let low = mixText(0x9747b28c, account);
  const keys: number[] = [];
  let at = 0;
  for (let count = 1; count <= maxKeys; count += 1) {
    const end = blocksOf(count) * blockBytes;
    if (end > prompt.length) break;
    for (; at < end; at += 4) {
      const word =
        (prompt[at] ?? 0) |
        ((prompt[at + 1] ?? 0) << 8) |
        ((prompt[at + 2] ?? 0) << 16) |
        ((prompt[at + 3] ?? 0) << 24);
      high = Math.imul(high ^ word, 0x01000193);
      high ^= high >>> 15;
      low = Math.imul(low ^ word, 0x85ebca6b);
      low ^= low >>> 13;
    }
    // 53 bits: what a number holds exactly.
    keys.push((high >>> 0) * 2 ** 21 + (low >>> 11));
  }
  return keys;
}

/** Blocks that the first so many keys stand for. */
export function blocksOf(keys: number): number {
  return Math.min(keys, fineKeys) + Math.max(0, keys - fineKeys) * blocksPerCoarseKey;
}

function mixText(start: number, text: string): number {
  let state = start;
  for (let at = 0; at < text.length; at += 1) {
    state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
    state ^= state >>> 15;
  }
  return state;
}

export class PrefixIndex {
  /** By instance, keys in the order of their last use. */
  readonly #known = new Map<string, Map<number, true>>();
  readonly #maxKeys: number;

  constructor(maxKeys = maxKeysPerInstance) {
    this.#maxKeys = maxKeys;
  }

  /** A prompt with these keys goes to the instance. */
  note(instanceId: string, keys: readonly number[]): void {
    if (keys.length === 0) return;
    let known = this.#known.get(instanceId);
    if (known === undefined) {
      known = new Map();
      this.#known.set(instanceId, known);
    }
    // The longest first, so that the ends of prompts are forgotten before what they begin with.
    for (let at = keys.length - 1; at >= 0; at -= 1) {
      const key = keys[at] ?? 0;
      known.delete(key);
      known.set(key, true);
    }
    for (const key of known.keys()) {
      if (known.size <= this.#maxKeys) break;
      known.delete(key);
    }
  }

  /** How many leading blocks the instance has. */
  match(instanceId: string, keys: readonly number[]): number {
    const known = this.#known.get(instanceId);
    if (known === undefined) return 0;
    let matched = 0;
    while (matched < keys.length && known.has(keys[matched] ?? 0)) matched += 1;
    return blocksOf(matched);
  }

  /** Keeps what is known of these instances alone. */
  keep(instanceIds: ReadonlySet<string>): void {
    for (const id of this.#known.keys()) if (!instanceIds.has(id)) this.#known.delete(id);
  }
}
