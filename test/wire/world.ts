/**
 * An API with something of everything in it, all of it ann's, and a sensible request for each operation: the tests that
 * walk the route table start from here. An operation whose body cannot be guessed has one in `bodies`, or its test fails:
 * a new route cannot be forgotten.
 */
import { DatabaseSync } from "node:sqlite";
import type { Operation } from "../../src/api/operation.ts";
import { templateOf } from "../../src/schema/openapi.ts";
import { sampleInstance } from "../../src/store/samples.ts";
import { sampleRecord } from "../../src/store/usage-contract.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

export type World = RealApi & {
  /** What path parameters stand for, by name. */
  readonly ids: Readonly<Record<string, string>>;
  /** Words that occur in what is ann's and nowhere else. */
  readonly marks: readonly string[];
  /** Every row of every table, as text. */
  dump(): string;
};

export const deployBody = { model_name: "annsmodel", gpu: "other", hf: { repo: "annsorg/annsrepo" } };

const poolBody = { reason: "annsreason", requested_max: { other: 9 } };

export async function startWorld(): Promise<World> {
  const api = await startRealApi();
  const created = await api.call("POST", "/deploy/llm", { body: deployBody });
  const { deploy_id } = created.json as { deploy_id: string };
  const made = await api.call("POST", "/v1/api-tokens", { body: { name: "annstoken" } });
  const token = made.json as { token: string; token_id: string };
  const minted = await api.call("POST", "/v1/scoped-jwt", { body: { api_key_name: "annstoken" } });
  // Of ann's first token, which lives on; the second has run out by the time that anyone uses it.
  const mint = async (expires_delta: number) =>
    (await api.call("POST", "/v1/scoped-jwt", { body: { api_key_name: "first", expires_delta } })).json as {
      token: string;
    };
  const [living, expired] = [await mint(3600), await mint(1)];
  api.now += 2000;
  const checked = await api.call("POST", "/v1/berth/hub/verify", { body: {}, token: api.tokens.root });
  const asked = await api.call("POST", "/v1/me/gpu_pool/request", { body: poolBody });
  await api.store.putInstance(sampleInstance({ id: "annsinstance", deploymentId: deploy_id }));
  await api.store.usage.add([
    sampleRecord({ requestId: "annsrequest", deploymentId: deploy_id, startedAtMs: api.now - 60_000 }),
  ]);
  await api.store.usage.putRuns([
    {
      ...{ instanceId: "annsinstance", deploymentId: deploy_id, account: "ann", gpu: "other", gpus: 1 },
      ...{ usdPerGpuHour: 1, startedAtMs: api.now - 60_000, seenAtMs: api.now, endedAtMs: null },
    },
  ]);
  api.logs = [{ instanceId: "annsinstance", lines: [{ atMs: api.now - 1000, text: "annslogline" }] }];
  return Object.assign(api, {
    ids: {
      deploy_id,
      api_token: token.token,
      token_id: token.token_id,
      model_name: "ann/annsmodel",
      name: "ann",
      owner: "ann",
      own_name: "annsmodel",
      entry_id: "1",
      id: (checked.json as { id: string }).id,
      request_id: (asked.json as { request_id: string }).request_id,
      livingJwt: living.token,
      expiredJwt: expired.token,
      jwtoken: (minted.json as { token: string }).token,
    },
    marks: [
      deploy_id,
      token.token,
      token.token_id,
      "annsmodel",
      "annsorg",
      "annslogline",
      "annsinstance",
      "annstoken",
    ],
    dump: () => dump(api.databaseFile),
  });
}

function dump(file: string): string {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    const tables = db.prepare("select name from sqlite_master where type = 'table' order by name").all();
    return tables
      .map(({ name }) => {
        const rows = db.prepare(`select * from "${String(name)}"`).all();
        return `${String(name)}\n${rows
          .map((row) => JSON.stringify(row))
          .sort()
          .join("\n")}`;
      })
      .join("\n\n");
  } finally {
    db.close();
  }
}

/** Bodies that the operations accept, by `METHOD /path/{template}`. */
const bodies: Readonly<Record<string, (ids: Readonly<Record<string, string>>) => unknown>> = {
  "POST /deploy/llm": () => ({ model_name: "another", gpu: "other", hf: { repo: "org/model" } }),
  "PUT /deploy/{deploy_id}": () => ({ settings: { min_instances: 0, max_instances: 2 } }),
  "POST /v1/deploy": () => ({ provider: "huggingface", model_name: "org/model" }),
  "POST /deploy/hf": () => ({ model_name: "org/model" }),
  "POST /models/{model_name}/meta": () => ({ description: "annsdescription" }),
  "POST /models/{owner}/{name}/meta": () => ({ description: "annsdescription" }),
  "POST /models/{model_name}/publicity": () => ({ public: true }),
  "POST /models/{owner}/{name}/publicity": () => ({ public: true }),
  "POST /v1/api-tokens": () => ({ name: "new" }),
  "PUT /v1/api-tokens/id/{token_id}": () => ({ allowed_ips: ["10.0.0.0/8"] }),
  "PATCH /v1/api-tokens/id/{token_id}": () => ({ allowed_ips: null }),
  "PUT /v1/berth/tokens/{token_id}/limits": () => ({ requests_per_minute: 100 }),
  "POST /v1/accounts": () => ({ name: "carl" }),
  "PATCH /v1/accounts/{name}": () => ({ is_disabled: false }),
  "PATCH /v1/me": () => ({ email: "someone@example.org" }),
  "POST /v1/request-costs": () => ({ requestIds: ["annsrequest"] }),
  "POST /v1/scoped-jwt": () => ({ api_key_name: "first" }),
  "POST /v1/me/rate_limit/request": () => ({ rate_limit: 300, reason: "more" }),
  "POST /v1/me/gpu_limit/request": () => ({ gpu_type: "other", requested_limit: 9, reason: "more" }),
  "POST /v1/me/gpu_pool/request": ({ request_id }) => ({
    ...poolBody,
    reason: "more",
    expected_request_id: request_id,
  }),
  "POST /v1/berth/hub/pull": () => ({ repo: "berth/starter" }),
  "POST /v1/berth/hub/verify": () => ({ repo: "berth/starter" }),
  "POST /v1/berth/hub/gc": () => ({ keep_bytes: 0 }),
  "POST /v1/berth/limit-requests/{request_id}/grant": () => ({ answer: "so be it" }),
  "POST /v1/berth/limit-requests/{request_id}/reject": () => ({ answer: "no" }),
};

/** Operations that are there to say no, with their status. */
const declined: Readonly<Record<string, number>> = { "GET /github/cli/login": 501 };

/** Status of the answer to a request that is right. */
export function expectedStatus(operation: Operation): number {
  return declined[keyOf(operation)] ?? operation.status;
}

/** What must have happened before an operation can be accepted, by `METHOD /path/{template}`. */
const earlier: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  "POST /deploy/{deploy_id}/start": (world) => world.call("POST", `/deploy/${world.ids.deploy_id}/stop`),
};

/** Brings the world into a state in which the operation is accepted. */
export async function prepareFor(operation: Operation, world: World): Promise<void> {
  await earlier[keyOf(operation)]?.(world);
}

const queries: Readonly<Record<string, string>> = {
  from: "1",
  version: "ALL",
  login_id: "x",
  hf_repo_id: "org/model",
  "GET /cli/version?version": "0.6.0",
  "GET /v1/berth/fit?source": "berth/starter",
};

export function keyOf(operation: { readonly method: string; readonly path: string }): string {
  return `${operation.method} ${templateOf(operation.path)}`;
}

export type WorldRequest = { readonly method: string; readonly url: string; readonly body: unknown };

/** A request that the operation accepts; `ids` names what it is about. */
export function requestFor(operation: Operation, ids: Readonly<Record<string, string>>): WorldRequest {
  const { method, path, schemas } = operation;
  const key = keyOf(operation);
  const filled = templateOf(path).replace(/\{(\w+)\}/g, (_, name: string) => {
    // The one name that means two things: an account's, and what comes after the owner of a model.
    const id = ids[name === "name" && path.includes(":owner") ? "own_name" : name];
    if (id === undefined) throw new Error(`${key}: nothing is known of {${name}}; give world.ts an id`);
    return encodeURIComponent(id);
  });
  const query = requiredOf(schemas.query).map((name) => {
    const value = queries[`${key}?${name}`] ?? ids[name] ?? queries[name];
    if (value === undefined) throw new Error(`${key}: nothing is known of ?${name}; give world.ts a value`);
    return `${name}=${encodeURIComponent(value)}`;
  });
  const url = query.length === 0 ? filled : `${filled}?${query.join("&")}`;
  if (schemas.body === null) return { method, url, body: undefined };
  const body = bodies[key];
  if (body === undefined) throw new Error(`${key}: give world.ts a body that it accepts`);
  return { method, url, body: body(ids) };
}

/** Names of the query parameters that must be there. */
function requiredOf(query: Operation["schemas"]["query"]): string[] {
  if (query === null) return [];
  const missing = query.safeParse({}).error?.issues ?? [];
  return missing.map((issue) => String(issue.path[0]));
}
