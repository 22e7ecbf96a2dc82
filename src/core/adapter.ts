/**
 * Repositories that hold an adapter and no model: what is told of them, with the model that the adapter belongs to, which is what
 * most who name one are after. Pure.
 */
import type { RepoFile } from "./deployment.ts";
import { type Failure, failure } from "./failure.ts";
import { parseRepo } from "./repo.ts";

/** True where an adapter is there, and no weights beside its own. */
export function holdsAdapterAlone(files: readonly Pick<RepoFile, "path">[]): boolean {
  const atRoot = files.map(({ path }) => path).filter((path) => !path.includes("/"));
  const isOther = (path: string) =>
    /\.(safetensors|bin|gguf)$/i.test(path) && !/^(adapter_|training_args)/.test(path);
  return atRoot.includes("adapter_config.json") && !atRoot.some(isOther);
}

/** @param base as the adapter's configuration has it, which may be anything; null where it says nothing */
export function explainAdapter(repo: string, base: string | null): Failure {
  const parsed = base === null ? null : parseRepo(base);
  const named = parsed === null ? null : `${parsed.owner}/${parsed.name}`;
  const next =
    named === null
      ? "Deploy the model that its page names as the base, or a repository in which both were merged into one model."
      : `Deploy ${named}, or a repository in which both were merged into one model.`;
  const of = named === null ? "" : ` for ${named}`;
  return failure("no_loadable_weights", `${repo} holds a LoRA adapter${of}, and no model of its own.`, next);
}
