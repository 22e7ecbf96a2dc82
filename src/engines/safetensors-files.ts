/**
 * Which files of a repository make up one safetensors model: its weights once, the configuration, the tokenizer, and
 * nothing of what other programs need. Pure; shared by every engine that loads safetensors. Weights as Python pickles
 * can run code when they are loaded, so they are refused unless an administrator allows them.
 */
import type { RepoFile } from "../core/deployment.ts";
import { type Failure, failure } from "../core/failure.ts";
import type { RepoListing } from "../ports/hub.ts";

type Choice =
  | { ok: true; value: { files: readonly RepoFile[]; entryFile: string } }
  | { ok: false; failure: Failure };

/** One copy of the weights: a single file, or the shards of one. */
type Copy = { readonly name: string; readonly files: readonly RepoFile[]; readonly shards: number };

/** @param allowPickle BERTH_ALLOW_PICKLE */
export function chooseSafetensorsFiles(
  { repo, files }: Pick<RepoListing, "repo" | "files">,
  { allowPickle }: { readonly allowPickle: boolean },
): Choice {
  const atRoot = files.filter(({ path }) => !path.includes("/"));
  const has = (name: string) => atRoot.some(({ path }) => path === name);
  const safe = pickCopy(atRoot, "safetensors");
  const pickled = pickCopy(atRoot, "bin");
  if (safe === null && has("adapter_config.json")) return refuse(isAdapter(repo));
  const weights = safe ?? (allowPickle ? pickled : null);
  if (weights === null) return refuse(pickled === null ? hasNone(repo, files) : isPickle(repo, pickled));
  if (weights.files.length !== weights.shards) return refuse(isIncomplete(repo, weights));
  const entryFile = ["config.json", "params.json"].find(has);
  if (entryFile === undefined) return refuse(lacksConfig(repo));
  const index = `${weights.name}.${weights === safe ? "safetensors" : "bin"}.index.json`;
  const beside = atRoot.filter(({ path }) => isBeside(path) || path === index);
  return {
    ok: true,
    value: { files: [...weights.files, ...beside, ...sentenceModules(files)], entryFile },
  };
}

/** The usual name first, then Mistral's own, then the one with the shortest name: variants carry more in it. */
function pickCopy(files: readonly RepoFile[], extension: "safetensors" | "bin"): Copy | null {
  const copies = groupCopies(files, extension);
  const usual = extension === "bin" ? "pytorch_model" : "model";
  const rank = ({ name }: Copy) => (name === usual ? 0 : name === "consolidated" ? 1 : 2);
  return (
    copies.sort(
      (a, b) => rank(a) - rank(b) || a.name.length - b.name.length || (a.name < b.name ? -1 : 1),
    )[0] ?? null
  );
}

function groupCopies(files: readonly RepoFile[], extension: "safetensors" | "bin"): Copy[] {
  const groups = new Map<string, { files: RepoFile[]; shards: number; name: string }>();
  for (const file of files) {
    if (!file.path.endsWith(`.${extension}`) || isNoModel(file.path)) continue;
    const shard = /^(.*)-(\d{5,6})-of-(\d{5,6})\.[a-z]+$/.exec(file.path);
    const name = shard?.[1] ?? file.path.slice(0, -extension.length - 1);
    const key = `${name} ${shard?.[3] ?? ""}`;
    const group = groups.get(key) ?? { files: [], shards: Number(shard?.[3] ?? 1), name };
    group.files.push(file);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** What ends like weights and is none, or is an adapter's. */
function isNoModel(path: string): boolean {
  return /^(adapter_|training_args|optimizer|scheduler|rng_state|scaler|random_states|tokenizer)/.test(path);
}

/** Configuration and tokenizer, by any of the names that are in use. */
function isBeside(path: string): boolean {
  if (/\.index\.json$/.test(path)) return false;
  if (
    /^(trainer_state|training_args|all_results|train_results|eval_results|adapter_config|dataset_infos?)\.json$/.test(
      path,
    )
  ) {
    return false;
  }
  return (
    /\.(json|jinja|tiktoken|spm|model)$/.test(path) ||
    /^(vocab|merges|added_tokens|special_tokens)\.txt$/.test(path)
  );
}

/** Sentence encoders keep the steps after the model in numbered folders. */
function sentenceModules(files: readonly RepoFile[]): RepoFile[] {
  if (!files.some(({ path }) => path === "modules.json")) return [];
  return files.filter(({ path }) => /^\d+_\w+\/(config\.json|model\.safetensors)$/.test(path));
}

function refuse(cause: Failure): Choice {
  return { ok: false, failure: cause };
}

function isAdapter(repo: string): Failure {
  return failure(
    "no_loadable_weights",
    `${repo} holds a LoRA adapter, which is no model of its own.`,
    "Deploy the model that its page names as the base.",
  );
}

function isPickle(repo: string, { files }: Copy): Failure {
  return failure(
    "no_loadable_weights",
    `${repo} has its weights only as Python pickles (${files[0]?.path ?? ""}), which can run code when they are loaded.`,
    "Choose a repository with safetensors files; an administrator can allow pickles with BERTH_ALLOW_PICKLE=on.",
  );
}

function isIncomplete(repo: string, { files, shards, name }: Copy): Failure {
  return failure(
    "no_loadable_weights",
    `${repo} has ${files.length} of the ${shards} parts of ${name}.`,
    "Ask its owner for the missing parts, or choose another repository.",
  );
}

function lacksConfig(repo: string): Failure {
  return failure(
    "no_loadable_weights",
    `${repo} has weights but no config.json that says what model they are.`,
    "Choose a repository in the form that the transformers library writes.",
  );
}

function hasNone(repo: string, files: readonly RepoFile[]): Failure {
  const has = (pattern: RegExp) => files.some(({ path }) => pattern.test(path));
  const found = has(/\.gguf$/i)
    ? "GGUF files alone"
    : has(/\.(onnx|tflite|mlmodel|h5|msgpack)$/)
      ? "weights in a format for other programs"
      : has(/\.(pt|pth|ckpt|pkl)$/)
        ? "weights as Python pickles of a form that is not known"
        : has(/\/.*\.safetensors$/)
          ? "safetensors files in folders, as models of several parts have them"
          : "no weights";
  return failure(
    "no_loadable_weights",
    `This engine loads safetensors files; ${repo} has ${found}.`,
    "Choose a repository with a model in safetensors files.",
  );
}
