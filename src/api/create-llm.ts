/**
 * What `POST /deploy/llm` asks for, as the core's values, or everything that is wrong with it. Pure. Owns the rules that
 * span fields or need the core's vocabulary; the schema has checked each field by itself. Never repeats a token.
 */
import type { DeploymentConfig, ScaleSettings, Weights } from "../core/deployment.ts";
import { catalogue, modelNamePattern } from "../core/deployment.ts";
import { refuseUnsafeArgs } from "../core/engine-args.ts";
import { isRevision, parseRepo, repoNameRule, revisionRule } from "../core/repo.ts";
import type { DeployLlmIn } from "../schema/deploy.ts";
import type { ValidationIssue } from "../schema/errors.ts";
import { type Checked, valueError } from "../schema/validation.ts";
import { checkScale } from "./scale-rules.ts";

export type Draft = {
  /** Full name, in the caller's account. */
  readonly name: string;
  readonly config: DeploymentConfig;
  readonly settings: ScaleSettings;
  readonly hfToken: string | null;
};

type Context = {
  readonly account: string;
  readonly quotaGpus: number;
};

type Found<T> = { readonly value: T; readonly issues: readonly ValidationIssue[] };

/** Fields of the published API that this version refuses rather than ignores. */
const notYetSupported = ["standard_args", "preset_id", "container_image"] as const;

export function draftDeployment(body: DeployLlmIn, context: Context): Checked<Draft> {
  const name = fullName(body.model_name, context.account);
  const source = readSource(body);
  const settings = readSettings(body);
  const extraArgs = body.extra_args ?? [];
  const refusedArg = refuseUnsafeArgs(extraArgs);
  const issues = [
    ...name.issues,
    ...source.issues,
    ...checkScale(settings, body.num_gpus, context.quotaGpus),
    ...(refusedArg === null ? [] : [valueError(["body", "extra_args"], refusedArg)]),
    ...notYetSupported
      .filter((field) => body[field] !== undefined && body[field] !== null)
      .map((field) => valueError(["body", field], `${field} is not supported by this version of Berth yet.`)),
  ];
  if (issues.length > 0) return { ok: false, issues };
  const { weights, baseModel, hfToken } = source.value;
  const config: DeploymentConfig = {
    gpu: body.gpu,
    numGpus: body.num_gpus,
    maxBatchSize: body.max_batch_size,
    weights,
    baseModel,
    extraArgs,
  };
  return { ok: true, value: { name: name.value, config, settings, hfToken } };
}

function fullName(given: string, account: string): Found<string> {
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
  };
}

/** 0, as some clients write "none", and null both mean the installation's default. */
export function readInactiveShutdown(given: number | null | undefined): number | null {
  return given === undefined || given === 0 ? null : given;
}

type Source = Pick<Draft, "hfToken"> & {
  readonly weights: Weights;
  readonly baseModel: string | null;
};

const noSource: Source = { weights: { repo: "", revision: null }, baseModel: null, hfToken: null };

/** Exactly one of `hf` and `base_model`; null counts as absent. */
function readSource(body: DeployLlmIn): Found<Source> {
  const hf = body.hf ?? null;
  const baseModel = body.base_model ?? null;
  if (hf !== null && baseModel !== null) {
    return refuseSource(["body"], "Send hf or base_model, not both: a deployment has one model.");
  }
  if (hf !== null) return readHf(hf);
  if (baseModel !== null) return readBaseModel(baseModel);
  const sentence = `One of hf (a Hugging Face repository) and base_model (${listCatalogue()}) is required.`;
  return refuseSource(["body"], sentence);
}

function readHf(hf: NonNullable<DeployLlmIn["hf"]>): Found<Source> {
  const issues: ValidationIssue[] = [];
  const revision = hf.revision === "" ? null : (hf.revision ?? null);
  const hfToken = hf.token === "" ? null : (hf.token ?? null);
  if (parseRepo(hf.repo) === null) {
    issues.push(valueError(["body", "hf", "repo"], `hf.repo must be ${repoNameRule}.`));
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

function readBaseModel(baseModel: string): Found<Source> {
  const entry = Object.hasOwn(catalogue, baseModel) ? catalogue[baseModel] : undefined;
  if (entry === undefined) {
    return refuseSource(
      ["body", "base_model"],
      `base_model is not in the catalogue, which has ${listCatalogue()}. Name other models with hf.`,
    );
  }
  return {
    value: { weights: { repo: entry.repo, revision: null }, baseModel, hfToken: null },
    issues: [],
  };
}

function refuseSource(loc: readonly string[], sentence: string): Found<Source> {
  return { value: noSource, issues: [valueError(loc, sentence)] };
}

function listCatalogue(): string {
  return Object.keys(catalogue).join(", ");
}
