/**
 * What `POST /deploy/llm` asks for, as the core's values, or everything that is wrong with it. Pure. Owns the rules that
 * span fields or need the core's vocabulary; the schema has checked each field by itself. Never repeats a token.
 */

import type { DeploymentConfig, EngineArgs, ScaleSettings, Weights } from "../core/deployment.ts";
import { modelNamePattern } from "../core/deployment.ts";
import { refuseUnsafeArgs } from "../core/engine-args.ts";
import { type Catalogue, type CatalogueEntry, findEntry, findPreset, repoFor } from "../core/known-models.ts";
import {
  isLocal,
  isRevision,
  localNameRule,
  parseLocal,
  parseRepo,
  repoNameRule,
  revisionRule,
} from "../core/repo.ts";
import type { DeployLlmIn } from "../schema/deploy.ts";
import type { ValidationIssue } from "../schema/errors.ts";
import { type Checked, valueError } from "../schema/validation.ts";
import { checkScale } from "./scale-rules.ts";
import { readSchedule } from "./schedule.ts";
import { readStandardArgs } from "./standard-args.ts";

export type Draft = {
  /** Full name, in the caller's account. */
  readonly name: string;
  readonly config: DeploymentConfig;
  readonly engineArgs: EngineArgs;
  readonly settings: ScaleSettings;
  readonly hfToken: string | null;
};

export type DraftContext = {
  readonly account: string;
  readonly quotaGpus: number;
  readonly catalogue: Catalogue;
  readonly containerImages: readonly string[];
  refuseArgs(engine: string | null, args: EngineArgs): string | null;
};

export type Found<T> = { readonly value: T; readonly issues: readonly ValidationIssue[] };

export function draftDeployment(body: DeployLlmIn, context: DraftContext): Checked<Draft> {
  const name = fullName(body.model_name, context.account);
  const source = readSource(body, context.catalogue);
  const settings = readSettings(body);
  const engineArgs = readEngineArgs(body, context);
  const issues = [
    ...name.issues,
    ...source.issues,
    ...checkScale(settings, body.num_gpus, context.quotaGpus),
    ...engineArgs.issues,
    ...checkImage(body.container_image ?? null, context.containerImages),
  ];
  if (issues.length > 0) return { ok: false, issues };
  const { weights, baseModel, hfToken } = source.value;
  const config: DeploymentConfig = {
    gpu: body.gpu,
    numGpus: body.num_gpus,
    maxBatchSize: body.max_batch_size,
    weights,
    baseModel,
    containerImage: body.container_image ?? null,
  };
  return { ok: true, value: { name: name.value, config, engineArgs: engineArgs.value, settings, hfToken } };
}

export function fullName(given: string, account: string): Found<string> {
  const slash = given.indexOf("/");
  const prefix = slash === -1 ? account : given.slice(0, slash);
  const model = given.slice(slash + 1);
  const refuse = (sentence: string) => ({
    value: "",
    issues: [valueError(["body", "model_name"], sentence)],
  });
  if (prefix.toLowerCase() !== account.toLowerCase()) {
    return refuse(`model_name must be a bare name or begin with "${account}/", which is your account.`);
  }
  if (!modelNamePattern.test(model)) {
    return refuse(
      "model_name may have 1 to 96 letters, digits and . _ - and begins with a letter or a digit.",
    );
  }
  return { value: `${account}/${model}`, issues: [] };
}

function readSettings({ settings }: DeployLlmIn): ScaleSettings {
  return {
    minInstances: settings?.min_instances ?? 1,
    maxInstances: settings?.max_instances ?? 1,
    inactiveShutdownS: readInactiveShutdown(settings?.inactive_shutdown),
    schedule: readSchedule(settings?.schedule),
  };
}

/** 0, as some clients write "none", and null both mean the installation's default. */
export function readInactiveShutdown(given: number | null | undefined): number | null {
  return given === undefined || given === 0 ? null : given;
}

/** A preset's arguments, whose whole field gives way to one that is given and not empty. */
function readEngineArgs(body: DeployLlmIn, context: DraftContext): Found<EngineArgs> {
  const given = {
    standardArgs: readStandardArgs(body.standard_args ?? {}),
    extraArgs: body.extra_args ?? [],
  };
  const presetId = body.preset_id ?? "";
  const preset = presetId === "" ? null : findPreset(context.catalogue, presetId);
  const issues: ValidationIssue[] = [];
  if (presetId !== "" && preset === null) {
    const sentence = "preset_id names no preset; GET /deploy/llm/presets?hf_repo_id= lists those of a model.";
    issues.push(valueError(["body", "preset_id"], sentence));
  }
  const base = preset?.preset.args ?? { standardArgs: {}, extraArgs: [] };
  const value: EngineArgs = {
    standardArgs: Object.keys(given.standardArgs).length > 0 ? given.standardArgs : base.standardArgs,
    extraArgs: given.extraArgs.length > 0 ? given.extraArgs : base.extraArgs,
  };
  const unsafe = refuseUnsafeArgs(given.extraArgs);
  if (unsafe !== null) issues.push(valueError(["body", "extra_args"], unsafe));
  else if (issues.length === 0) {
    const refusal = context.refuseArgs(null, value);
    const field = value.extraArgs.length > 0 ? "extra_args" : "standard_args";
    if (refusal !== null) issues.push(valueError(["body", field], refusal));
  }
  return { value, issues };
}

/** Only what an administrator has allowed, by its digest: a tag may mean something else tomorrow. */
function checkImage(image: string | null, allowed: readonly string[]): ValidationIssue[] {
  if (image === null || allowed.includes(image)) return [];
  const list = allowed.length === 0 ? "none is allowed" : `allowed are ${allowed.join(", ")}`;
  const sentence = `container_image must be one that an administrator allows, by its digest (BERTH_CONTAINER_IMAGES); here ${list}.`;
  return [valueError(["body", "container_image"], sentence)];
}

type Source = Pick<Draft, "hfToken"> & {
  readonly weights: Weights;
  readonly baseModel: string | null;
};

const noSource: Source = { weights: { repo: "", revision: null }, baseModel: null, hfToken: null };

/** Exactly one of `hf` and `base_model`; null counts as absent. */
function readSource(body: DeployLlmIn, catalogue: Catalogue): Found<Source> {
  const hf = body.hf ?? null;
  const baseModel = body.base_model ?? null;
  if (hf !== null && baseModel !== null) {
    return refuseSource(["body"], "Send hf or base_model, not both: a deployment has one model.");
  }
  if (hf !== null) return readHf(hf);
  if (baseModel !== null) return readBaseModel(body, baseModel, catalogue);
  const sentence =
    "One of hf (a Hugging Face repository) and base_model (a model of GET /models/deployment/list, for example berth/starter) is required.";
  return refuseSource(["body"], sentence);
}

function readHf(hf: NonNullable<DeployLlmIn["hf"]>): Found<Source> {
  const issues: ValidationIssue[] = [];
  const revision = hf.revision === "" ? null : (hf.revision ?? null);
  const hfToken = hf.token === "" ? null : (hf.token ?? null);
  const named = isLocal(hf.repo) ? parseLocal(hf.repo) : parseRepo(hf.repo);
  if (named === null) {
    const rule = isLocal(hf.repo) ? localNameRule : repoNameRule;
    issues.push(valueError(["body", "hf", "repo"], `hf.repo must be ${rule}.`));
  }
  if (isLocal(hf.repo) && (revision !== null || hfToken !== null)) {
    const sentence = "A model on this machine's disk has no revision and needs no token: send hf.repo alone.";
    issues.push(valueError(["body", "hf"], sentence));
  }
  if (revision !== null && !isRevision(revision)) {
    issues.push(valueError(["body", "hf", "revision"], `hf.revision must be ${revisionRule}.`));
  }
  if (hfToken !== null && !/^[\x21-\x7e]{1,512}$/.test(hfToken)) {
    const sentence = "hf.token must be at most 512 printable characters without spaces.";
    issues.push(valueError(["body", "hf", "token"], sentence));
  }
  return { value: { weights: { repo: hf.repo, revision }, baseModel: null, hfToken }, issues };
}

function readBaseModel(body: DeployLlmIn, baseModel: string, catalogue: Catalogue): Found<Source> {
  const entry = findEntry(catalogue, baseModel);
  const repo = entry === null ? null : repoFor(entry, body.gpu);
  if (entry === null || repo === null) {
    const sentence =
      "base_model is not in the catalogue; GET /models/deployment/list shows it. Name other models with hf.";
    return refuseSource(["body", "base_model"], sentence);
  }
  return { value: fromCatalogue(entry, repo), issues: [] };
}

function fromCatalogue(entry: CatalogueEntry, repo: string): Source {
  return { weights: { repo, revision: null }, baseModel: entry.name, hfToken: null };
}

function refuseSource(loc: readonly string[], sentence: string): Found<Source> {
  return { value: noSource, issues: [valueError(loc, sentence)] };
}
