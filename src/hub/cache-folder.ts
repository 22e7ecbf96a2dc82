/** Which folder the cache is, from the setting and the environment. Pure. */
import { join, resolve } from "node:path";

export type CacheFolder = { readonly path: string; readonly isShared: boolean };

/**
 * @param choice BERTH_HUB_CACHE: "own", "hf" or a path
 * @param env where Python's tools look for their cache: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, in this order
 */
export function cacheFolder(
  choice: string,
  home: string,
  env: Readonly<Record<string, string | undefined>>,
  userHome: string,
): CacheFolder {
  const expand = (path: string) => resolve(path.replace(/^~(?=$|\/)/, userHome));
  if (choice === "own") return { path: join(home, "hub"), isShared: false };
  if (choice !== "hf") return { path: expand(choice), isShared: true };
  const named = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE;
  if (named) return { path: expand(named), isShared: true };
  const base = env.HF_HOME || join(env.XDG_CACHE_HOME || "~/.cache", "huggingface");
  return { path: join(expand(base), "hub"), isShared: true };
}
