/**
 * Well-known open models with what is known of them, as plain values: what `base_model` names, what presets are made of,
 * and what memory a configuration needs. Pure; where the list comes from is not its matter.
 */
import type { EngineArgs, GpuType } from "./deployment.ts";

/** A configuration that the catalogue recommends. */
export type Preset = {
  readonly id: string;
  readonly gpu: GpuType;
  readonly numGpus: number;
  readonly engine: string;
  readonly args: EngineArgs;
  readonly label: string;
};

export type CatalogueEntry = {
  /** What `base_model` says. */
  readonly name: string;
  readonly title: string;
  /** Weights for GPUs, as published; null where there are only those for the CPU. */
  readonly repo: string | null;
  /** The same model as GGUF, for the CPU; null where its makers publish none. */
  readonly ggufRepo: string | null;
  readonly task: string;
  readonly license: string;
  /** All parameters, also those of experts that a token does not use. */
  readonly parameters: number;
  /** Longest context of the published configuration. */
  readonly contextTokens: number;
  /** Bits a parameter of `repo` takes on average. */
  readonly bitsPerParameter: number;
  /** Bytes one token of context takes in 16 bits, all layers; 0 where none is kept. */
  readonly kvBytesPerToken: number;
  /** Where the facts were read. */
  readonly source: string;
  readonly presets: readonly Preset[];
};

export type Catalogue = readonly CatalogueEntry[];

/** Names ignore case. */
export function findEntry(catalogue: Catalogue, name: string): CatalogueEntry | null {
  const wanted = name.toLowerCase();
  return catalogue.find((entry) => entry.name.toLowerCase() === wanted) ?? null;
}

/** The entry whose weights this repository is, with or without a quantization behind it. */
export function findByRepo(catalogue: Catalogue, repo: string): CatalogueEntry | null {
  const plain = (name: string | null) => name?.replace(/:.*$/, "").toLowerCase();
  const wanted = plain(repo);
  return catalogue.find((entry) => plain(entry.repo) === wanted || plain(entry.ggufRepo) === wanted) ?? null;
}

/** The repository for this GPU type: on the CPU, the GGUF files where there are some. */
export function repoFor(entry: CatalogueEntry, gpu: GpuType): string | null {
  return gpu === "other" ? (entry.ggufRepo ?? entry.repo) : (entry.repo ?? entry.ggufRepo);
}

export function findPreset(
  catalogue: Catalogue,
  id: string,
): { readonly entry: CatalogueEntry; readonly preset: Preset } | null {
  for (const entry of catalogue) {
    const preset = entry.presets.find((candidate) => candidate.id === id);
    if (preset !== undefined) return { entry, preset };
  }
  return null;
}

/** Bytes of the weights for GPUs. */
export function weightBytes(entry: Pick<CatalogueEntry, "parameters" | "bitsPerParameter">): number {
  return (entry.parameters * entry.bitsPerParameter) / 8;
}

/** Memory of a GPU type in bytes, as its name says; null for `other`, whose name says nothing. */
export function gpuMemoryBytes(gpu: GpuType): number | null {
  const gigabytes = /-(\d+)GB$/.exec(gpu)?.[1];
  return gigabytes === undefined ? null : Number(gigabytes) * 1e9;
}
