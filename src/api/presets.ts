/**
 * What helps to write a deployment: the catalogue's presets, the knobs an engine has, and a name that is free. Reads only.
 */
import type { z } from "zod";
import { modelNamePattern } from "../core/deployment.ts";
import { type Catalogue, findByRepo, findEntry } from "../core/known-models.ts";
import { type StandardArg, standardKnobs } from "../core/standard-args.ts";
import {
  knobsOut,
  type PresetsOut,
  presetsOut,
  presetsQuery,
  standardArgsQuery,
  suggestNameOut,
  suggestNameQuery,
} from "../schema/deploy.ts";
import { HttpError } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { toStandardArgsOut } from "./standard-args.ts";

/** The source that clients know for what an installation recommends itself. */
const presetSource = "deepinfra";
/** The engine that presets for GPUs are written for, installed or not. */
const gpuEngine = "vllm";
/** Names that are tried before there is none to suggest. */
const maxSuggestions = 1000;

export function presetOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/deploy/llm/presets",
      id: "deploy_llm_presets_deploy_llm_presets_get",
      summary: "Configurations that the catalogue recommends for a repository; none when it does not know it",
      query: presetsQuery,
      answer: presetsOut,
      handle: async ({ query }) => listPresets(deps.catalogue, query),
    }),
    operation({
      method: "GET",
      path: "/deploy/llm/standard_args",
      id: "deploy_llm_standard_args_deploy_llm_standard_args_get",
      summary: "The typed knobs that an engine has, with their ranges",
      query: standardArgsQuery,
      answer: knobsOut,
      handle: async ({ query }) => describeKnobs(deps, query.engine),
    }),
    operation({
      method: "GET",
      path: "/deploy/llm/suggest_name",
      id: "deploy_llm_suggest_name_deploy_llm_suggest_name_get",
      summary: "A name like the one given that is free in the caller's account",
      query: suggestNameQuery,
      answer: suggestNameOut,
      handle: async ({ caller, query }) => {
        const { account } = caller;
        const own = await deps.store.deployments({ account, includeDeleted: false });
        const taken = new Set(own.map(({ name }) => name.toLowerCase()));
        return { model_name: suggestName(query.model_name, account, taken) };
      },
    }),
  ];
}

function listPresets(catalogue: Catalogue, query: z.output<typeof presetsQuery>): PresetsOut {
  const entry = findEntry(catalogue, query.hf_repo_id) ?? findByRepo(catalogue, query.hf_repo_id);
  const fits = (wanted: string | null | undefined, is: string) =>
    wanted === undefined || wanted === null || wanted === "" || wanted === is;
  if (entry === null || !fits(query.source, presetSource)) return [];
  return entry.presets
    .filter((preset) => fits(query.gpu, preset.gpu) && fits(query.engine, preset.engine))
    .map(({ id, gpu, numGpus, engine, args, label }) => ({
      id,
      gpu_configs: [`${numGpus}x${gpu}`],
      source: presetSource,
      engine,
      standard_args: toStandardArgsOut(args.standardArgs),
      extra_args: [...args.extraArgs],
      label,
    }));
}

/** An engine that is installed says what it has; of the others, presets are written for one that has them all. */
function describeKnobs({ engineNames, refuseArgs }: ApiDeps, engine: string) {
  const isInstalled = engineNames.includes(engine);
  if (!isInstalled && engine !== gpuEngine) {
    const sentence = `There is no engine of this name; there are ${[...new Set([gpuEngine, ...engineNames])].join(", ")}.`;
    throw new InputError([valueError(["query", "engine"], sentence)]);
  }
  const knobs = Object.entries(standardKnobs) as [StandardArg, (typeof standardKnobs)[StandardArg]][];
  const has = (knob: StandardArg) => {
    const { kind, choices, max } = standardKnobs[knob];
    const samples = kind === "boolean" ? [true] : (choices ?? [standardKnobs[knob].min, max]);
    return samples.some(
      (sample) => refuseArgs(engine, { standardArgs: { [knob]: sample }, extraArgs: [] }) === null,
    );
  };
  return Object.fromEntries(
    knobs
      .filter(([knob]) => !isInstalled || has(knob))
      .map(([, { wire, kind, min, max, choices, text }]) => [
        wire,
        {
          type: kind === "choice" ? ("string" as const) : kind,
          ...(min === undefined ? {} : { minimum: min }),
          ...(max === undefined ? {} : { maximum: max }),
          ...(choices === undefined ? {} : { enum: [...choices] }),
          description: text,
        },
      ]),
  );
}

/** Pure. What may not be in a name is left out, and a number makes it free. */
export function suggestName(given: string, account: string, taken: ReadonlySet<string>): string {
  const bare = given.slice(given.lastIndexOf("/") + 1).replace(/:.*$/, "");
  const clean = bare
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 90);
  const base = modelNamePattern.test(clean) ? clean : "model";
  for (let number = 1; number <= maxSuggestions; number += 1) {
    const name = `${account}/${number === 1 ? base : `${base}-${number}`}`;
    if (!taken.has(name.toLowerCase())) return name;
  }
  throw new HttpError("name_taken", `Every name like ${account}/${base} is in use. Take another one.`);
}
