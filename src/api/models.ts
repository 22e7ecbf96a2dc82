/**
 * The models of this installation: what everyone may call, one's own, what could be deployed, and one model's page. A model
 * is a deployment under its full name, which comes with its slash as it is or as `%2F`. Owners describe, publish and delete
 * theirs here as well.
 */
import type { z } from "zod";
import { builtinAccount, type Deployment } from "../core/deployment.ts";
import { tokenPricesOf } from "../core/prices.ts";
import { HttpError } from "../schema/errors.ts";
import {
  doneOut,
  type ModelMetaIn,
  type ModelOut,
  modelDeleteQuery,
  modelInfoOut,
  modelListOut,
  modelMetaIn,
  modelPath,
  modelPathByOwner,
  modelPublicityIn,
  modelVersionQuery,
  modelVersionsOut,
} from "../schema/models.ts";
import type { Caller } from "./auth.ts";
import { deleteDeployment, publishDeployment } from "./changes.ts";
import { isoTime } from "./deployment-out.ts";
import { changeDeployment } from "./deployments.ts";
import type { ApiDeps } from "./deps.ts";
import { entryToModelOut, type ModelPage, toModelInfoOut, toModelOut } from "./model-out.ts";
import { type Operation, operation, publicOperation } from "./operation.ts";

export function modelOperations(deps: ApiDeps): Operation[] {
  return [...listOperations(deps), ...readOperations(deps), ...changeOperations(deps)];
}

function listOperations(deps: ApiDeps): Operation[] {
  const { store } = deps;
  const everyone = async () =>
    (await store.deployments({ includeDeleted: false })).filter((one) => one.isPublic);
  return [
    publicOperation({
      method: "GET",
      path: "/models/list",
      id: "models_list_models_list_get",
      summary: "Models that every token may call",
      answer: modelListOut,
      handle: async () => await listModels(deps, await everyone()),
    }),
    publicOperation({
      method: "GET",
      path: "/models/featured",
      id: "models_featured_models_featured_get",
      summary: "Models that come with Berth",
      answer: modelListOut,
      handle: async () =>
        await listModels(
          deps,
          (await everyone()).filter(({ account }) => account === builtinAccount),
        ),
    }),
    operation({
      method: "GET",
      path: "/models/private/list",
      id: "private_models_list_models_private_list_get",
      summary: "The caller's own models that are not public",
      answer: modelListOut,
      handle: async ({ caller }) => {
        const own = await store.deployments({ account: caller.account, includeDeleted: false });
        return await listModels(
          deps,
          own.filter((one) => !one.isPublic),
        );
      },
    }),
    operation({
      method: "GET",
      path: "/models/deployment/list",
      id: "models_deployment_list_models_deployment_list_get",
      summary: "The catalogue: models that base_model can name",
      answer: modelListOut,
      handle: async () => deps.catalogue.map(entryToModelOut),
    }),
  ];
}

function readOperations(deps: ApiDeps): Operation[] {
  return [
    ...eachPath("", ({ path, params, nameOf, id }) =>
      publicOperation({
        method: "GET",
        path,
        id: id("models_info_models__model_name__get"),
        summary: "One model: how to call it, what it costs",
        params,
        query: modelVersionQuery,
        answer: modelInfoOut,
        handle: async ({ caller, path: given, query }) => {
          const found = await findModel(deps, caller, nameOf(given));
          checkVersion(found, query.version ?? null);
          const page = await readPage(deps, found);
          return toModelInfoOut(page, caller?.account ?? null, deps.baseUrl);
        },
      }),
    ),
    ...eachPath("/versions", ({ path, params, nameOf, id }) =>
      publicOperation({
        method: "GET",
        path,
        id: id("model_versions_models__model_name__versions_get"),
        summary: "The one version that a model has: the commit of its weights",
        params,
        answer: modelVersionsOut,
        handle: async ({ caller, path: given }) => {
          const { name, resolved, createdAtMs } = await findModel(deps, caller, nameOf(given));
          if (resolved === null) return [];
          return [{ model_name: name, version: resolved.commit, uploaded_at: isoTime(createdAtMs) }];
        },
      }),
    ),
  ];
}

function changeOperations(deps: ApiDeps): Operation[] {
  return [
    ...eachPath("/meta", ({ path, params, nameOf, id }) =>
      operation({
        method: "POST",
        path,
        id: id("model_meta_update_models__model_name__meta_post"),
        summary: "Describes a model; what is not named stays, an empty text deletes",
        params,
        body: modelMetaIn,
        answer: doneOut,
        handle: async ({ caller, path: given, body }) => {
          const found = await findModel(deps, caller, nameOf(given));
          requireOwner(found, caller);
          await deps.store.putNote(
            metaKey(found),
            JSON.stringify(mergeMeta(await readMeta(deps, found), body)),
          );
          return {};
        },
      }),
    ),
    ...eachPath("/publicity", ({ path, params, nameOf, id }) =>
      operation({
        method: "POST",
        path,
        id: id("model_publicity_models__model_name__publicity_post"),
        summary: "Makes a model callable by every token, or by its owner's alone again",
        params,
        body: modelPublicityIn,
        answer: doneOut,
        handle: async ({ caller, path: given, body }) => {
          const found = await findModel(deps, caller, nameOf(given));
          const change = publishDeployment(body.public, deps.clock.now());
          await changeDeployment(deps, caller, found.id, body.public ? "published" : "unpublished", change);
          return {};
        },
      }),
    ),
    ...eachPath("", ({ path, params, nameOf, id }) =>
      operation({
        method: "DELETE",
        path,
        id: id("model_delete_models__model_name__delete"),
        summary: "Deletes a model's deployment; version is ALL or the one it has",
        params,
        query: modelDeleteQuery,
        answer: doneOut,
        handle: async ({ caller, path: given, query }) => {
          const found = await findModel(deps, caller, nameOf(given));
          if (query.version !== "ALL") checkVersion(found, query.version);
          await changeDeployment(deps, caller, found.id, "deleted", deleteDeployment(deps.clock.now()));
          return {};
        },
      }),
    ),
  ];
}

type PathForm = {
  readonly path: string;
  readonly params: z.ZodType<Record<string, string>>;
  nameOf(given: Record<string, string>): string;
  /** The published id for the published form; a name of its own for the other. */
  id(published: string): string;
};

/** The operation under both forms of a model's name. */
function eachPath(suffix: string, make: (form: PathForm) => Operation): Operation[] {
  return [
    make({
      path: `/models/:model_name${suffix}`,
      params: modelPath,
      nameOf: ({ model_name = "" }) => model_name,
      id: (published) => published,
    }),
    make({
      path: `/models/:owner/:name${suffix}`,
      params: modelPathByOwner,
      nameOf: ({ owner = "", name = "" }) => `${owner}/${name}`,
      id: (published) => `${published}_by_owner`,
    }),
  ];
}

/** Throws `not_found` in the same words for what is not there and what the caller may not see. */
async function findModel({ store }: ApiDeps, caller: Caller | null, given: string): Promise<Deployment> {
  const full = given.includes("/") || caller === null ? given : `${caller.account}/${given}`;
  const wanted = full.toLowerCase();
  const found = (await store.deployments({ includeDeleted: false })).find(
    ({ name }) => name.toLowerCase() === wanted,
  );
  const isVisible =
    found !== undefined && (found.isPublic || found.account === caller?.account || caller?.isAdmin === true);
  if (!isVisible) {
    throw new HttpError(
      "not_found",
      "No model has this name. GET /models/list and /models/private/list show yours.",
    );
  }
  return found;
}

function requireOwner({ account, name }: Deployment, caller: Caller): void {
  if (caller.isAdmin || account === caller.account) return;
  throw new HttpError("forbidden", `Only an administrator may do this with ${name}.`);
}

function checkVersion({ name, resolved }: Deployment, version: string | null): void {
  if (version === null || version === "" || version === resolved?.commit) return;
  const has = resolved === null ? "none yet" : resolved.commit;
  throw new HttpError("not_found", `${name} has no such version; it has ${has}.`);
}

async function listModels(deps: ApiDeps, deployments: readonly Deployment[]): Promise<ModelOut[]> {
  const pages = await Promise.all(deployments.map((deployment) => readPage(deps, deployment)));
  return pages.map(toModelOut);
}

async function readPage(deps: ApiDeps, deployment: Deployment): Promise<ModelPage> {
  return {
    deployment,
    instances: await deps.store.instances(deployment.id),
    meta: await readMeta(deps, deployment),
    prices: tokenPricesOf(deps.prices.models, deployment.name),
  };
}

function metaKey({ id }: Deployment): string {
  return `model-meta/${id}`;
}

async function readMeta({ store }: ApiDeps, deployment: Deployment): Promise<ModelMetaIn> {
  return modelMetaIn.parse(JSON.parse((await store.note(metaKey(deployment))) ?? "{}"));
}

function mergeMeta(before: ModelMetaIn, change: ModelMetaIn): ModelMetaIn {
  const named = Object.entries(change).filter(([, value]) => value !== undefined && value !== null);
  return { ...before, ...Object.fromEntries(named) };
}
