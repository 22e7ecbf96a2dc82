/**
 * Between the core's values and the tables' rows. Every row is checked when it is read, so that a row broken by hand or
 * by a defect is named instead of spreading; and before it is written, so that none is stored that could not be read.
 * Pure; must not query.
 */
import { z } from "zod";
import { type Account, type ApiToken, noRates } from "../core/account.ts";
import {
  type Deployment,
  type DeploymentConfig,
  gpuTypes,
  type ResolvedWeights,
  type Revision,
  type Revisions,
  type ScaleSettings,
  type Tries,
} from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import { type Failure, type FailureCode, failureCodes } from "../core/failure.ts";
import type { InstanceRecord, RecordedObservation } from "../core/instance.ts";
import { weekdays } from "../core/schedule.ts";
import { kvCacheDtypes, quantizations, type StandardArgs } from "../core/standard-args.ts";
import { StoreError } from "./error.ts";
import { modelFacts } from "./facts-rows.ts";
import type { Tables } from "./tables.ts";

const count = z.int().min(0);
const timeMs = z.int();
const flag = z.union([z.literal(0), z.literal(1)]).transform((value) => value === 1);

/** A column of JSON text. */
export function json<T>(schema: z.ZodType<T>) {
  return z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue({ code: "custom", message: "is not JSON" });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const failure: z.ZodType<Failure> = z.strictObject({
  code: z.enum(Object.keys(failureCodes) as FailureCode[]),
  message: z.string(),
  next: z.string(),
});

const config: z.ZodType<DeploymentConfig> = z.strictObject({
  gpu: z.enum(gpuTypes),
  numGpus: count,
  maxBatchSize: count,
  weights: z.strictObject({ repo: z.string(), revision: z.string().nullable() }),
  baseModel: z.string().nullable(),
  containerImage: z.string().nullable(),
});

const settings: z.ZodType<ScaleSettings> = z.strictObject({
  minInstances: count,
  maxInstances: count,
  inactiveShutdownS: z.number().nullable(),
  schedule: z
    .strictObject({
      timeZone: z.string(),
      rules: z.array(
        z.strictObject({
          days: z.array(z.enum(weekdays)),
          fromMinute: count,
          untilMinute: count,
          minInstances: count,
        }),
      ),
    })
    .optional(),
});

const resolved: z.ZodType<ResolvedWeights> = z.strictObject({
  commit: z.string(),
  files: z.array(
    z.strictObject({
      path: z.string(),
      bytes: count,
      sha256: z.string().nullable(),
      gitOid: z.string().nullable(),
    }),
  ),
  engine: z.string(),
  entryFile: z.string(),
  task: z.string(),
  facts: modelFacts.exactOptional(),
});

const tries: z.ZodType<Tries> = z.strictObject({
  count,
  lastAtMs: timeMs.nullable(),
  lastFailure: failure.nullable(),
});

const standardArgs: z.ZodType<StandardArgs> = z.strictObject({
  maxContextSize: count.exactOptional(),
  maxConcurrentRequests: count.exactOptional(),
  maxImagesPerPrompt: count.exactOptional(),
  gpuMemoryFraction: z.number().exactOptional(),
  maxPrefillTokens: count.exactOptional(),
  kvCacheDtype: z.enum(kvCacheDtypes).exactOptional(),
  enablePrefixCaching: z.boolean().exactOptional(),
  quantization: z.enum(quantizations).exactOptional(),
});

const revisionShape = {
  id: count,
  args: z.strictObject({ standardArgs, extraArgs: z.array(z.string()) }),
};
const revision: z.ZodType<Revision> = z.strictObject(revisionShape);

const revisions: z.ZodType<Revisions> = z.strictObject({
  wanted: revision,
  fallback: revision.nullable(),
  tries,
  updateError: failure.nullable(),
  retired: z.array(z.strictObject({ ...revisionShape, retiredAtMs: timeMs })),
});

const observed: z.ZodType<RecordedObservation> = z.strictObject({
  id: z.string(),
  deploymentId: z.string(),
  state: z.enum(["starting", "running", "exited"]),
  endpoint: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("unix"), path: z.string() }),
    z.strictObject({ kind: z.literal("tcp"), host: z.string(), port: count }),
  ]),
  slots: count,
  contextTokens: count,
  loadProgress: z.number().nullable(),
  note: z.string().nullable(),
  placement: z.strictObject({ node: z.string(), gpus: z.array(z.string()) }),
  startedAtMs: timeMs,
  readyAtMs: timeMs.nullable(),
  failure: failure.nullable(),
});

const details = z.strictObject({
  text: z.string(),
  next: z.string(),
  inputs: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

const accountRow = z
  .object({ name: z.string(), is_admin: flag, created_at_ms: timeMs })
  .transform((row): Account => ({ name: row.name, isAdmin: row.is_admin, createdAtMs: row.created_at_ms }));

const rate = z.int().min(0).nullable();
const rates = z.object({ concurrentRequests: rate, requestsPerMinute: rate, tokensPerMinute: rate });

const tokenRow = z
  .object({
    id: z.string(),
    account: z.string(),
    name: json(z.string()),
    hash: z.string(),
    fragment: z.string(),
    created_at_ms: timeMs,
    allowed_ips: json(z.array(z.string()).nullable()),
    rates: json(rates.nullable()),
  })
  .transform(
    ({ created_at_ms, allowed_ips, rates: own, ...row }): ApiToken => ({
      ...row,
      rates: own ?? noRates,
      allowedIps: allowed_ips,
      createdAtMs: created_at_ms,
    }),
  );

const deploymentRow = z
  .object({
    id: z.string(),
    account: z.string(),
    name: z.string(),
    is_public: flag,
    config: json(config),
    settings: json(settings),
    desired: z.enum(["run", "stop", "delete"]),
    created_at_ms: timeMs,
    updated_at_ms: timeMs,
    resolved: json(resolved.nullable()),
    weights_ready_at_ms: timeMs.nullable(),
    failure: json(failure.nullable()),
    has_run: flag,
    tries: json(tries),
    revisions: json(revisions),
    load_time_ms: timeMs.nullable(),
  })
  .transform(
    (row): Deployment => ({
      id: row.id,
      account: row.account,
      name: row.name,
      isPublic: row.is_public,
      config: row.config,
      settings: row.settings,
      desired: row.desired,
      createdAtMs: row.created_at_ms,
      updatedAtMs: row.updated_at_ms,
      resolved: row.resolved,
      weightsReadyAtMs: row.weights_ready_at_ms,
      failure: row.failure,
      hasRun: row.has_run,
      tries: row.tries,
      revisions: row.revisions,
      loadTimeMs: row.load_time_ms,
    }),
  );

const instanceRow = z
  .object({
    id: z.string(),
    deployment_id: z.string(),
    intent: z.enum(["run", "drain"]),
    created_at_ms: timeMs,
    drain_since_ms: timeMs.nullable(),
    revision: count,
    warmed_at_ms: timeMs.nullable(),
    observed: json(observed.nullable()),
  })
  .transform(
    (row): InstanceRecord => ({
      id: row.id,
      deploymentId: row.deployment_id,
      intent: row.intent,
      createdAtMs: row.created_at_ms,
      drainSinceMs: row.drain_since_ms,
      revision: row.revision,
      warmedAtMs: row.warmed_at_ms,
      observed: row.observed,
    }),
  );

const eventRow = z
  .object({ deployment_id: z.string(), at_ms: timeMs, code: z.string(), details: json(details) })
  .transform(
    (row): DeploymentEvent => ({
      deploymentId: row.deployment_id,
      atMs: row.at_ms,
      code: row.code,
      ...row.details,
    }),
  );

/** Checks a row and turns it into the core's value; throws a StoreError that names table, row and column. */
export function readRow<T>(table: keyof Tables, id: string, schema: z.ZodType<T>, row: unknown): T {
  const outcome = schema.safeParse(row);
  if (outcome.success) return outcome.data;
  const [issue] = outcome.error.issues;
  const column = issue?.path.join(".") ?? "";
  throw new StoreError(
    `Row ${JSON.stringify(id)} of the table ${table} is not valid: ${column} ${issue?.message ?? ""}. ` +
      "Correct the row or restore a backup of the database.",
  );
}

export function readAccount(row: Tables["accounts"]): Account {
  return readRow("accounts", row.name, accountRow, row);
}

export function readToken(row: Omit<Tables["tokens"], "sealed">): ApiToken {
  return readRow("tokens", row.id, tokenRow, row);
}

export function readDeployment(row: Tables["deployments"]): Deployment {
  return readRow("deployments", row.id, deploymentRow, row);
}

export function readInstance(row: Tables["instances"]): InstanceRecord {
  return readRow("instances", row.id, instanceRow, row);
}

export function readEvent(row: Tables["events"]): DeploymentEvent {
  return readRow("events", `${row.deployment_id} ${row.seq}`, eventRow, row);
}

export function readNote(row: Tables["notes"]): string {
  return readRow("notes", row.key, json(z.string()), row.value);
}

export function writeAccount(account: Account): Tables["accounts"] {
  const row = {
    name: account.name,
    name_key: account.name.toLowerCase(),
    is_admin: Number(account.isAdmin),
    created_at_ms: account.createdAtMs,
  };
  readAccount(row);
  return row;
}

export function writeToken(token: ApiToken, sealed: string): Tables["tokens"] {
  const row = {
    id: token.id,
    account: token.account,
    name: JSON.stringify(token.name),
    hash: token.hash,
    fragment: token.fragment,
    created_at_ms: token.createdAtMs,
    sealed,
    allowed_ips: JSON.stringify(token.allowedIps),
    rates: JSON.stringify(token.rates),
  };
  readToken(row);
  return row;
}

/** A deleted deployment keeps neither its hold on the name nor its sealed token. */
export function writeDeployment(
  deployment: Deployment,
  sealedHfToken: string | null,
  version: number,
): Tables["deployments"] {
  const isDeleted = deployment.desired === "delete";
  const row = {
    id: deployment.id,
    account: deployment.account,
    name: deployment.name,
    live_name: isDeleted ? null : deployment.name.toLowerCase(),
    is_public: Number(deployment.isPublic),
    config: JSON.stringify(deployment.config),
    settings: JSON.stringify(deployment.settings),
    desired: deployment.desired,
    created_at_ms: deployment.createdAtMs,
    updated_at_ms: deployment.updatedAtMs,
    resolved: JSON.stringify(deployment.resolved),
    weights_ready_at_ms: deployment.weightsReadyAtMs,
    failure: JSON.stringify(deployment.failure),
    has_run: Number(deployment.hasRun),
    tries: JSON.stringify(deployment.tries),
    revisions: JSON.stringify(deployment.revisions),
    load_time_ms: deployment.loadTimeMs,
    sealed_hf_token: isDeleted ? null : sealedHfToken,
    version,
  };
  readDeployment(row);
  return row;
}

export function writeInstance(record: InstanceRecord): Tables["instances"] {
  const row = {
    id: record.id,
    deployment_id: record.deploymentId,
    intent: record.intent,
    created_at_ms: record.createdAtMs,
    drain_since_ms: record.drainSinceMs,
    revision: record.revision,
    warmed_at_ms: record.warmedAtMs,
    observed: JSON.stringify(record.observed),
  };
  readInstance(row);
  return row;
}

export function writeEvent(event: DeploymentEvent, seq: number): Tables["events"] {
  const { deploymentId, atMs, code, text, next, inputs } = event;
  const row = {
    deployment_id: deploymentId,
    seq,
    at_ms: atMs,
    code,
    details: JSON.stringify({ text, next, inputs }),
  };
  readEvent(row);
  return row;
}
