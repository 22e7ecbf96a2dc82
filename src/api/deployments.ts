/**
 * The deploy API: creates, lists, reads and changes deployments. Every change is written as desired state, leaves an
 * event and wakes the reconciler; nothing here waits for a hub, a driver or an engine.
 */
import { type Deployment, nothingSeen, type ScaleSettings } from "../core/deployment.ts";
import { type Status, statuses } from "../core/status.ts";
import {
  type DeploymentOut,
  type DeployUpdateIn,
  deployIdOut,
  deployIdPath,
  deployListQuery,
  deployLlmIn,
  deploymentListOut,
  deploymentOut,
  deployUpdateIn,
} from "../schema/deploy.ts";
import { HttpError } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import {
  type Change,
  deleteDeployment,
  rescaleDeployment,
  startDeployment,
  stopDeployment,
  withinQuota,
} from "./changes.ts";
import { type Draft, draftDeployment, readInactiveShutdown } from "./create-llm.ts";
import { toDeploymentOut } from "./deployment-out.ts";
import type { ApiDeps } from "./deps.ts";
import { createGpuQuotas, type GpuQuotas } from "./gpu-quota.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { deploymentNotFound, findDeployment, listDeployments } from "./visibility.ts";

export function deploymentOperations(deps: ApiDeps): Operation[] {
  const { store, clock } = deps;
  const quotas = createGpuQuotas(deps);
  return [
    operation({
      method: "POST",
      path: "/deploy/llm",
      body: deployLlmIn,
      answer: deploymentOut,
      handle: async ({ caller, body }) => {
        const draft = draftDeployment(body, {
          account: caller.account,
          quotaGpus: deps.limits.quotaGpus,
        });
        if (!draft.ok) throw new InputError(draft.issues);
        return await createDeployment(deps, quotas, caller, draft.value);
      },
    }),
    operation({
      method: "GET",
      path: "/deploy/list",
      query: deployListQuery,
      answer: deploymentListOut,
      handle: async ({ caller, query }) => await list(deps, caller, query),
    }),
    operation({
      method: "GET",
      path: "/deploy/:deploy_id",
      params: deployIdPath,
      answer: deploymentOut,
      handle: async ({ caller, path }) => {
        const deployment = await findDeployment(store, caller, path.deploy_id, "see");
        return toDeploymentOut(deployment, await store.instances(deployment.id));
      },
    }),
    operation({
      method: "PUT",
      path: "/deploy/:deploy_id",
      params: deployIdPath,
      body: deployUpdateIn,
      answer: deployIdOut,
      handle: async ({ caller, path, body }) => {
        const wanted = readUpdate(body);
        const rescale = rescaleDeployment(wanted, deps.limits.quotaGpus, clock.now());
        return await change(deps, quotas, caller, path.deploy_id, "settings_changed", rescale);
      },
    }),
    operation({
      method: "DELETE",
      path: "/deploy/:deploy_id",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await change(deps, quotas, caller, path.deploy_id, "deleted", deleteDeployment(clock.now())),
    }),
    operation({
      method: "POST",
      path: "/deploy/:deploy_id/stop",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await change(deps, quotas, caller, path.deploy_id, "stopped", stopDeployment(clock.now())),
    }),
    operation({
      method: "POST",
      path: "/deploy/:deploy_id/start",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await change(deps, quotas, caller, path.deploy_id, "started", startDeployment(clock.now())),
    }),
  ];
}

async function createDeployment(
  deps: ApiDeps,
  quotas: GpuQuotas,
  caller: Caller,
  draft: Draft,
): Promise<DeploymentOut> {
  const { store, clock } = deps;
  const id = deps.newId();
  const now = clock.now();
  const deployment: Deployment = {
    id,
    account: caller.account,
    name: draft.name,
    isPublic: false,
    config: draft.config,
    settings: draft.settings,
    desired: "run",
    createdAtMs: now,
    updatedAtMs: now,
    ...nothingSeen,
  };
  const sealed = draft.hfToken === null ? null : deps.vault.seal(draft.hfToken, `hf-token:${id}`);
  const added = await quotas.within(caller.account, async (refuse) => {
    const refusal = refuse(deployment);
    if (refusal !== null) throw new InputError([valueError(["body", "settings", "max_instances"], refusal)]);
    return await store.addDeployment(deployment, sealed);
  });
  if (added === "name-taken") {
    const message = `There is a deployment named ${draft.name} already. Take another model_name, or delete that one.`;
    throw new HttpError("name_taken", message, { param: "model_name" });
  }
  await tell(deps, deployment, "accepted", `${draft.name} was accepted: ${describe(deployment)}.`, caller);
  return toDeploymentOut(deployment, []);
}

async function list(
  deps: ApiDeps,
  caller: Caller,
  query: { status?: string | undefined; account?: string | undefined },
): Promise<DeploymentOut[]> {
  const wanted = readStatuses(query.status);
  const includeDeleted = wanted?.has("deleted") ?? false;
  const deployments = await listDeployments(deps.store, caller, query.account, includeDeleted);
  const instances = Map.groupBy(await deps.store.instances(), (record) => record.deploymentId);
  return deployments
    .map((deployment) => toDeploymentOut(deployment, instances.get(deployment.id) ?? []))
    .filter((deployment) => wanted?.has(deployment.status) ?? true);
}

/** Null when the list is not narrowed. */
function readStatuses(given: string | undefined): ReadonlySet<Status> | null {
  const names = (given ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  if (names.length === 0) return null;
  const known = new Set<Status>();
  for (const name of names) {
    const status = statuses.find((candidate) => candidate === name);
    if (status === undefined) {
      throw new HttpError("bad_request", `status may list ${statuses.join(", ")}; it has another word.`);
    }
    known.add(status);
  }
  return known;
}

/** Both generations of the body; what this version cannot change is refused rather than ignored. */
function readUpdate(body: DeployUpdateIn): Partial<ScaleSettings> {
  for (const field of ["standard_args", "extra_args"] as const) {
    if (body[field] === undefined || body[field] === null) continue;
    const message = `${field} of a deployment cannot be changed by this version of Berth yet: delete it and deploy again.`;
    throw new HttpError("bad_request", message, { param: field });
  }
  const { settings } = body;
  if (settings === undefined || settings === null) {
    throw new InputError([{ loc: ["body", "settings"], type: "missing", msg: "Field required" }]);
  }
  return {
    ...(settings.min_instances === undefined ? {} : { minInstances: settings.min_instances }),
    ...(settings.max_instances === undefined ? {} : { maxInstances: settings.max_instances }),
    ...(settings.inactive_shutdown === undefined
      ? {}
      : { inactiveShutdownS: readInactiveShutdown(settings.inactive_shutdown) }),
  };
}

const changeTexts = {
  settings_changed: "was given other settings",
  stopped: "was stopped",
  started: "was started",
  deleted: "was deleted",
} as const;

async function change(
  deps: ApiDeps,
  quotas: GpuQuotas,
  caller: Caller,
  id: string,
  code: keyof typeof changeTexts,
  decide: Change,
): Promise<{ deploy_id: string }> {
  const found = await findDeployment(deps.store, caller, id, "manage");
  const last: { refusal: Error | null } = { refusal: null };
  const stored = await quotas.within(found.account, (refuse) =>
    deps.store.changeDeployment(found.id, (current) => {
      const decision = withinQuota(decide(current), current, refuse);
      last.refusal = decision.ok ? null : decision.refusal;
      return decision.ok ? decision.value : null;
    }),
  );
  if (stored === null) throw deploymentNotFound();
  if (last.refusal !== null) throw last.refusal;
  await tell(deps, stored, code, `${stored.name} ${changeTexts[code]}: ${describe(stored)}.`, caller);
  return { deploy_id: stored.id };
}

/** Leaves the event and wakes the reconciler, also when the event cannot be written: the change itself is. */
async function tell(
  deps: ApiDeps,
  { id, settings }: Deployment,
  code: string,
  text: string,
  caller: Caller,
): Promise<void> {
  const inputs = {
    by: caller.account,
    min_instances: settings.minInstances,
    max_instances: settings.maxInstances,
  };
  try {
    await deps.store.addEvent({ deploymentId: id, atMs: deps.clock.now(), code, text, next: "", inputs });
  } finally {
    deps.poke(id);
  }
}

/** For example "org/model on 1 x other, 0 to 2 instances". */
function describe({ config, settings }: Deployment): string {
  const { repo, revision } = config.weights;
  const weights = revision === null ? repo : `${repo} at ${revision}`;
  return `${weights} on ${config.numGpus} x ${config.gpu}, ${settings.minInstances} to ${settings.maxInstances} instances`;
}
