/**
 * Which files of a repository make up one GGUF model: picks the quantization, gathers its shards, and says in words what
 * is there when nothing fits. Pure; shared by every engine that loads GGUF.
 */
import type { RepoFile } from "../core/deployment.ts";
import { type Failure, failure } from "../core/failure.ts";
import type { RepoListing } from "../ports/hub.ts";

type Choice =
  | { ok: true; value: { files: readonly RepoFile[]; entryFile: string } }
  | { ok: false; failure: Failure };

/** Tried in this order when no quantization is asked for: small and good first, then what is left. */
const preferred = [
  "Q4_K_M",
  "Q5_K_M",
  "Q8_0",
  "Q6_K",
  "Q4_0",
  "Q4_K_S",
  "Q5_K_S",
  "Q3_K_M",
  "IQ4_XS",
  "IQ4_NL",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q3_K_L",
  "Q3_K_S",
  "Q2_K",
  "F16",
  "BF16",
  "F32",
];

/** One model in the repository: a single file, or the shards of one. */
type Model = {
  readonly name: string;
  readonly files: readonly RepoFile[];
  /** Shards the names promise. */
  readonly shards: number;
};

/** @param quantization as in `owner/name:Q4_K_M`, any case, `-` and `.` like `_`; null takes the default order */
export function chooseGgufFiles(
  { repo, files }: Pick<RepoListing, "repo" | "files">,
  quantization: string | null,
): Choice {
  const models = groupModels(files.filter((file) => isModelFile(file.path)));
  if (models.length === 0) return { ok: false, failure: describeNothing(repo, files) };
  const model =
    quantization === null
      ? byPreference(models)
      : models.find((candidate) => hasQuantization(candidate, quantization));
  if (model === undefined) {
    return {
      ok: false,
      failure: failure(
        "no_loadable_weights",
        `${repo} has no GGUF file of quantization ${quantization?.slice(0, 40)}.`,
        `It has ${listModels(models)}; name one of these after the repository.`,
      ),
    };
  }
  const [first] = model.files;
  if (first === undefined || model.files.length !== model.shards) {
    return {
      ok: false,
      failure: failure(
        "no_loadable_weights",
        `${repo} has ${model.files.length} of the ${model.shards} parts of ${model.name}.`,
        "Ask its owner for the missing parts, or choose another repository or quantization.",
      ),
    };
  }
  return { ok: true, value: { files: model.files, entryFile: first.path } };
}

/** Projectors of vision models, importance matrices, adapters and drafts are GGUF files, but not models. */
function isModelFile(path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  return name.endsWith(".gguf") && !/mmproj|imatrix|(^|[-_.])(lora|adapter|draft)([-_.])/.test(name);
}

/** Shards are named `<name>-00001-of-00003.gguf`, each in the folder of the first. */
function groupModels(files: readonly RepoFile[]): readonly Model[] {
  const groups = new Map<string, { files: { index: number; file: RepoFile }[]; shards: number }>();
  for (const file of files) {
    const shard = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i.exec(file.path);
    const name = shard?.[1] === undefined ? file.path.replace(/\.gguf$/i, "") : `${shard[1]}-of-${shard[3]}`;
    const group = groups.get(name) ?? { files: [], shards: Number(shard?.[3] ?? 1) };
    group.files.push({ index: Number(shard?.[2] ?? 1), file });
    groups.set(name, group);
  }
  return [...groups].map(([name, group]) => ({
    name: name.replace(/-of-\d{5}$/, ""),
    files: group.files.sort((a, b) => a.index - b.index).map(({ file }) => file),
    shards: group.shards,
  }));
}

function byPreference(models: readonly Model[]): Model | undefined {
  for (const quantization of preferred) {
    const found = models.find((model) => hasQuantization(model, quantization));
    if (found !== undefined) return found;
  }
  return [...models].sort((a, b) => totalBytes(a) - totalBytes(b) || (a.name < b.name ? -1 : 1))[0];
}

function totalBytes(model: Model): number {
  return model.files.reduce((sum, file) => sum + file.bytes, 0);
}

/** The quantization is a part of the file's path, set off by anything but letters and digits. */
function hasQuantization(model: Model, quantization: string): boolean {
  const plain = (text: string) => `_${text.toUpperCase().replace(/[^A-Z0-9]+/g, "_")}_`;
  return plain(quantization) !== "__" && plain(model.name).includes(plain(quantization));
}

function listModels(models: readonly Model[]): string {
  const most = 12;
  const names = models.map((model) => quantizationOf(model) ?? model.name);
  const shown = [...new Set(names)].slice(0, most).join(", ");
  return names.length > most ? `${shown} and more` : shown;
}

function quantizationOf(model: Model): string | null {
  const name = model.name.toUpperCase().replace(/[-.]/g, "_");
  return (
    /(?:^|[_/])(I?Q\d_[A-Z0-9_]+|I?Q\d|BF16|F16|F32|MXFP4)(?:_|$|\/)/.exec(name)?.[1]?.replace(/_+$/, "") ??
    null
  );
}

function describeNothing(repo: string, files: readonly RepoFile[]): Failure {
  const has = (pattern: RegExp) => files.some((file) => pattern.test(file.path));
  const other = "Choose a repository with GGUF files; for many models one exists whose name ends in -GGUF.";
  const found = has(/(^|\/)adapter_model\.(safetensors|bin)$|(^|\/)adapter_config\.json$/)
    ? "a LoRA adapter, which is no model of its own"
    : has(/\.safetensors$/)
      ? "safetensors weights"
      : has(/\.(bin|pt|pth|ckpt|pkl)$/)
        ? "weights as Python pickles"
        : has(/\.(onnx|tflite|mlmodel|h5|msgpack)$/)
          ? "weights in a format for other programs"
          : has(/\.gguf$/i)
            ? "GGUF files, but none of them is a model by itself"
            : "no weights";
  const next =
    found === "safetensors weights"
      ? "Install vLLM, which loads them, with `berth engines install vllm` and start Berth again; or choose a repository with GGUF files, whose names often end in -GGUF."
      : other;
  return failure(
    "no_loadable_weights",
    `The engines of this machine load GGUF files; ${repo} has ${found}.`,
    next,
  );
}
