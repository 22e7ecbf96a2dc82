/** The wire shapes of Berth's own operations on the cache of weights, `/v1/berth/hub/*`, for administrators. */
import { z } from "zod";

const bytes = z.number().int().min(0);

export const cachedRepoOut = z.object({
  repo: z.string(),
  files: z.int(),
  bytes,
  /** Of these, what Berth wrote and may remove. */
  own_bytes: bytes,
  commits: z.array(z.object({ commit: z.string(), refs: z.array(z.string()) })),
  /** Unix seconds. */
  used_at: z.int(),
  /** A deployment needs something of it. */
  needed: z.boolean(),
});
export type CachedRepoOut = z.output<typeof cachedRepoOut>;
export const cachedRepoListOut = z.array(cachedRepoOut);

export const hubJobOut = z.object({
  id: z.string(),
  kind: z.enum(["pull", "verify"]),
  repo: z.string().nullable(),
  state: z.enum(["running", "done", "failed", "cancelled"]),
  bytes_done: bytes,
  bytes_total: bytes,
  bytes_per_s: z.number().min(0),
  result: z.string(),
  damaged: z.array(z.object({ repo: z.string(), paths: z.array(z.string()), removed: z.boolean() })),
});
export type HubJobOut = z.output<typeof hubJobOut>;

export const pullIn = z.object({
  /** `owner/name`, optionally followed by `:QUANTIZATION`. */
  repo: z.string().max(300),
  revision: z.string().max(200).nullish(),
  /** Hugging Face token, for this pull alone. */
  token: z
    .string()
    .regex(/^[\x21-\x7e]{1,512}$/)
    .nullish(),
});
export const verifyIn = z.object({ repo: z.string().max(300).nullish(), repair: z.boolean().default(false) });
export const collectIn = z.object({
  /** Keep at most so much of what Berth wrote; 0 removes everything that no deployment needs. */
  keep_bytes: bytes.default(0),
});
export const collectOut = z.object({ removed_bytes: bytes, removed_files: z.int(), kept_bytes: bytes });
export const removeOut = z.object({ removed_bytes: bytes, kept_bytes: bytes });
export const hubRepoPath = z.object({ owner: z.string(), name: z.string() });
export const hubJobPath = z.object({ id: z.string() });
