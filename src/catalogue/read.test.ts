/** That the catalogue makes sense in itself: names, sizes, and that what is recommended fits. */
import { describe, expect, it } from "vitest";
import { refuseUnsafeArgs } from "../core/engine-args.ts";
import {
  type CatalogueEntry,
  findByRepo,
  findEntry,
  findPreset,
  gpuMemoryBytes,
  type Preset,
  repoFor,
  weightBytes,
} from "../core/known-models.ts";
import { parseRepo } from "../core/repo.ts";
import { parseCatalogue, readCatalogue } from "./read.ts";

const path = new URL("models.yaml", import.meta.url).pathname;
const catalogue = readCatalogue([path]);
const each = catalogue.map((entry) => [entry.name, entry] as const);

/** Share of a GPU that an engine takes for weights and context, and what it needs beside them on each. */
const usableShare = 0.9;
const besideBytes = 2e9;

function neededBytes(entry: CatalogueEntry, { args }: Preset): number {
  const context = args.standardArgs.maxContextSize ?? entry.contextTokens;
  return weightBytes(entry) + entry.kvBytesPerToken * context;
}

describe("the catalogue", () => {
  it("has at least 30 models, each once, and Berth's own first", () => {
    expect(catalogue.length).toBeGreaterThanOrEqual(30);
    expect(new Set(catalogue.map(({ name }) => name.toLowerCase())).size).toBe(catalogue.length);
    const ids = catalogue.flatMap(({ presets }) => presets.map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(catalogue[0]?.name).toBe("berth/starter");
  });

  it.each(each)("%s: names a repository", (_name, entry) => {
    for (const repo of [entry.repo, entry.ggufRepo])
      if (repo !== null) expect(parseRepo(repo)).not.toBeNull();
    expect(entry.repo ?? entry.ggufRepo).not.toBeNull();
  });

  it.each(each)("%s: has the parameters that its name says", (name, { parameters }) => {
    const said = /(?<![A-Za-z0-9])(?:(\d+)x)?(\d+(?:\.\d+)?)B/i.exec(name);
    if (said === null) return;
    const billions = Number(said[1] ?? 1) * Number(said[2]);
    // Experts share what is not theirs, so that "8x7B" is less than 56 billion.
    const least = said[1] === undefined ? 0.85 : 0.75;
    expect(parameters / 1e9 / billions).toBeGreaterThan(least);
    expect(parameters / 1e9 / billions).toBeLessThan(1.25);
  });

  it.each(each)("%s: fits the GPUs it recommends, with room, and not on half of them", (_name, entry) => {
    expect(entry.presets.length).toBeGreaterThan(0);
    for (const preset of entry.presets) {
      const memory = gpuMemoryBytes(preset.gpu);
      expect(preset.args.standardArgs.maxContextSize ?? 0).toBeLessThanOrEqual(entry.contextTokens);
      expect(refuseUnsafeArgs(preset.args.extraArgs)).toBeNull();
      expect(repoFor(entry, preset.gpu)).not.toBeNull();
      if (memory === null) {
        expect(preset).toMatchObject({ engine: "embedded", numGpus: 1 });
        expect(entry.ggufRepo).not.toBeNull();
        continue;
      }
      expect(preset.engine).toBe("vllm");
      const room = (gpus: number) => gpus * (memory * usableShare - besideBytes);
      expect(neededBytes(entry, preset), preset.id).toBeLessThanOrEqual(room(preset.numGpus));
      const serves = weightBytes(entry) + entry.kvBytesPerToken * Math.min(entry.contextTokens, 8192) * 4;
      if (preset.numGpus > 1) expect(serves, preset.id).toBeGreaterThan(room(preset.numGpus / 2));
    }
  });

  it("finds entries by name in any case, by either repository, and presets by id", () => {
    expect(findEntry(catalogue, "qwen/qwen3-8b")?.name).toBe("Qwen/Qwen3-8B");
    expect(findByRepo(catalogue, "Qwen/Qwen3-8B-GGUF:Q8_0")?.name).toBe("Qwen/Qwen3-8B");
    expect(findByRepo(catalogue, "nobody/nothing")).toBeNull();
    expect(findPreset(catalogue, "Qwen/Qwen3-8B@1xL40S-48GB")?.preset.numGpus).toBe(1);
    expect(findPreset(catalogue, "nothing")).toBeNull();
  });

  it("takes GGUF files for the CPU and the published weights for GPUs", () => {
    const entry = findEntry(catalogue, "Qwen/Qwen3-8B");
    if (entry === null) throw new Error("the entry is gone");
    expect(repoFor(entry, "other")).toBe("Qwen/Qwen3-8B-GGUF:Q4_K_M");
    expect(repoFor(entry, "L4-24GB")).toBe("Qwen/Qwen3-8B");
  });
});

describe("a catalogue file", () => {
  it("names what is wrong with it", () => {
    expect(() => parseCatalogue("- name: a/b\n  title: x", "/x.yaml")).toThrow(/x\.yaml .* 0\./);
    expect(() => parseCatalogue("a: [", "/x.yaml")).toThrow();
  });
});
