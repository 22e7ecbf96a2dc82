/**
 * The deploy API: creates, lists, reads and changes deployments. Every change is written as desired state, leaves an
 * event and wakes the reconciler; nothing here waits for a hub, a driver or an engine.
 */
import { type Deployment, firstRevisions, nothingSeen } from "../core/deployment.ts";
import { refuseNeighbour } from "../core/isolation.ts";
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
  startDeployment,
  stopDeployment,
  type Update,
  updateDeployment,
  withinQuota,
} from "./changes.ts";
import { type Draft, draftDeployment, readInactiveShutdown } from "./create-llm.ts";
import { deploymentJson, isWritten } from "./deployment-json.ts";
import { toDeploymentOut } from "./deployment-out.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { describeSchedule, readSchedule } from "./schedule.ts";
import { describeArgs, readStandardArgs } from "./standard-args.ts";
import { deploymentNotFound, findDeployment, listDeployments } from "./visibility.ts";
import { WrittenList } from "./written-list.ts";

/** Deployments of a list that are written in one turn of the loop, some milliseconds. */
const writtenAtOnce = 200;

export function deploymentOperations(deps: ApiDeps): Operation[] {
  const { store, clock } = deps;
  return [
    operation({
      method: "POST",
      path: "/deploy/llm",
      id: "deploy_create_llm_deploy_llm_post",
      summary: "Deploys a model; answers at once with the deployment",
      body: deployLlmIn,
      answer: deploymentOut,
      handle: async ({ caller, body }) => {
        const draft = draftDeployment(body, {
          account: caller.account,
          quotaGpus: deps.limits.quotaGpus,
          catalogue: deps.catalogue,
          containerImages: deps.containerImages,
          refuseArgs: deps.refuseArgs,
        });
        if (!draft.ok) throw new InputError(draft.issues);
        return await createDeployment(deps, caller, draft.value);
      },
    }),
    operation({
      method: "GET",
      path: "/deploy/list",
      id: "deploy_list_deploy_list_get",
      summary: "Deployments, newest first; deleted ones only when asked for",
      query: deployListQuery,
      answer: deploymentListOut,
      handle: async ({ caller, query }) => await list(deps, caller, query),
    }),
    operation({
      method: "GET",
      path: "/deploy/:deploy_id",
      id: "deploy_status_deploy__deploy_id__get",
      summary: "One deployment",
      params: deployIdPath,
      answer: deploymentOut,
      handle: async ({ caller, path }) => {
        const deployment = await findDeployment(store, caller, path.deploy_id, "see");
        return toDeploymentOut(deployment, await store.instances(deployment.id), clock.now());
      },
    }),
    operation({
      method: "PUT",
      path: "/deploy/:deploy_id",
      id: "deploy_update_deploy__deploy_id__put",
      summary: "Changes settings at once, arguments by a rolling update",
      params: deployIdPath,
      body: deployUpdateIn,
      answer: deployIdOut,
      handle: async ({ caller, path, body }) => {
        const wanted = readUpdate(body);
        const isUpdate = wanted.standardArgs !== null || wanted.extraArgs !== null;
        const rules = { quotaGpus: deps.limits.quotaGpus, refuseArgs: deps.refuseArgs };
        const update = updateDeployment(wanted, rules, clock.now());
        const code = isUpdate ? "update_asked" : "settings_changed";
        return await changeDeployment(deps, caller, path.deploy_id, code, update);
      },
    }),
    operation({
      method: "DELETE",
      path: "/deploy/:deploy_id",
      id: "deploy_delete_deploy__deploy_id__delete",
      summary: "Deletes a deployment for good",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await changeDeployment(deps, caller, path.deploy_id, "deleted", deleteDeployment(clock.now())),
    }),
    operation({
      method: "POST",
      path: "/deploy/:deploy_id/stop",
      id: "deploy_stop_deploy__deploy_id__stop_post",
      summary: "Stops a deployment",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await changeDeployment(deps, caller, path.deploy_id, "stopped", stopDeployment(clock.now())),
    }),
    operation({
      method: "POST",
      path: "/deploy/:deploy_id/start",
      id: "deploy_start_deploy__deploy_id__start_post",
      summary: "Starts a deployment again, also after a failure",
      params: deployIdPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) =>
        await changeDeployment(deps, caller, path.deploy_id, "started", startDeployment(clock.now())),
    }),
  ];
}

/** Writes a new deployment, or refuses because its name is taken. */
export async function createDeployment(deps: ApiDeps, caller: Caller, draft: Draft): Promise<DeploymentOut> {
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
    revisions: firstRevisions(draft.engineArgs),
  };
  const sealed = draft.hfToken === null ? null : deps.vault.seal(draft.hfToken, `hf-token:${id}`);
  const added = await deps.gpuQuotas.within(caller.account, async (refuse) => {
    const refusal = refuse(deployment);
    if (refusal !== null) throw new InputError([valueError(["body", "settings", "max_instances"], refusal)]);
    await checkNeighbours(deps, caller.account);
    return await store.addDeployment(deployment, sealed);
  });
  if (added === "name-taken") {
    const message = `There is a deployment named ${draft.name} already. Take another model_name, or delete that one.`;
    throw new HttpError("name_taken", message, { param: "model_name" });
  }
  await tell(deps, deployment, "accepted", `${draft.name} was accepted: ${describe(deployment)}.`, caller);
  return toDeploymentOut(deployment, [], now);
}

/** Throws when the account's engines would run beside another's that could read what is theirs. */
async function checkNeighbours(deps: ApiDeps, account: string): Promise<void> {
  const isolation = await deps.isolation();
  if (isolation.isIsolated) return;
  const others = (await deps.store.deployments({ includeDeleted: false })).map((other) => other.account);
  const refusal = refuseNeighbour(isolation, account, others, deps.acceptsSharedEngines);
  if (refusal !== null) throw new HttpError("forbidden", refusal);
}

async function list(
  deps: ApiDeps,
  caller: Caller,
  query: { status?: string | undefined; account?: string | undefined },
): Promise<WrittenList> {
  const wanted = readStatuses(query.status);
  const includeDeleted = wanted?.has("deleted") ?? false;
  const deployments = await listDeployments(deps.store, caller, query.account, includeDeleted);
  const instances = Map.groupBy(await deps.store.instances(), (record) => record.deploymentId);
  const now = deps.clock.now();
  const texts: string[] = [];
  let fresh = 0;
  for (const deployment of deployments) {
    // Whoever waits for something else gets a turn.
    if (!isWritten(deployment) && ++fresh % writtenAtOnce === 0)
      await new Promise((resolve) => setImmediate(resolve));
    const { status, text } = deploymentJson(deployment, instances.get(deployment.id) ?? [], now);
    if (wanted?.has(status) ?? true) texts.push(text);
  }
  return new WrittenList(texts);
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

/** Both generations of the body: settings alone, or any of three. */
function readUpdate({ settings, standard_args, extra_args }: DeployUpdateIn): Update {
  const hasArgs = (standard_args ?? extra_args ?? null) !== null;
  if (!hasArgs && (settings === undefined || settings === null)) {
    throw new InputError([{ loc: ["body", "settings"], type: "missing", msg: "Field required" }]);
  }
  return {
    settings: {
      ...(settings?.min_instances === undefined ? {} : { minInstances: settings.min_instances }),
      ...(settings?.max_instances === undefined ? {} : { maxInstances: settings.max_instances }),
      ...(settings?.inactive_shutdown === undefined
        ? {}
        : { inactiveShutdownS: readInactiveShutdown(settings.inactive_shutdown) }),
      ...(settings?.schedule === undefined ? {} : { schedule: readSchedule(settings.schedule) }),
    },
    standardArgs:
      standard_args === undefined || standard_args === null ? null : readStandardArgs(standard_args),
    extraArgs: extra_args ?? null,
  };
}

const changeTexts = {
  settings_changed: "was given other settings",
  update_asked: "was given other arguments",
  restore_asked: "was given arguments of its history again",
  published: "may be called with every token",
  unpublished: "may be called with its owner's tokens alone",
  stopped: "was stopped",
  started: "was started",
  deleted: "was deleted",
} as const;

/** Writes a change as desired state, with its event. */
export async function changeDeployment(
  deps: ApiDeps,
  caller: Caller,
  id: string,
  code: keyof typeof changeTexts,
  decide: Change,
): Promise<{ deploy_id: string }> {
  const found = await findDeployment(deps.store, caller, id, "manage");
  const last: { refusal: Error | null } = { refusal: null };
  const stored = await deps.gpuQuotas.within(found.account, (refuse) =>
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
function describe({ config, settings, revisions }: Deployment): string {
  const { repo, revision } = config.weights;
  const weights = revision === null ? repo : `${repo} at ${revision}`;
  return `${weights} on ${config.numGpus} x ${config.gpu}, ${settings.minInstances} to ${settings.maxInstances} instances${describeSchedule(settings)}, arguments: ${describeArgs(revisions.wanted.args)}`;
}
