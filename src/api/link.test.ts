import { mkdtemp, rm } from "node:fs/promises";
import { type ClientRequest, type IncomingMessage, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { unknownAbilities } from "../core/abilities.ts";
import type { LoadReport, RouteModel, RoutingSnapshot } from "../core/routing.ts";
import { freeOfCharge } from "../core/usage.ts";
import { createLink as createGatewayLink } from "../gateway/link.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLink } from "./link.ts";

let folder: string;
let socketPath: string;
let server: Server;
let snapshot: RoutingSnapshot;
let listeners: Set<() => void>;
let loads: LoadReport[];
let gone: string[];
/** Ids of the records that were stored. */
let stored: string[];
let isStoreAway = false;
let stuckMs: number;
/** What waits for `check` to become true after anything happened. */
let waiting: { check: () => boolean; resolve: () => void }[];
let open: ClientRequest[];

function happened(): void {
  for (const each of waiting.filter(({ check }) => check())) each.resolve();
}
function until(check: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    waiting.push({ check, resolve });
    happened();
  });
}
function publish(padding = ""): void {
  const tokens =
    padding === "" ? [] : [{ hash: padding, tokenId: "t", account: "a", allowedIps: null, isAdmin: false }];
  snapshot = { ...snapshot, version: snapshot.version + 1, tokens };
  for (const listener of listeners) listener();
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-link-"));
  socketPath = join(folder, "link.sock");
  snapshot = {
    version: 1,
    atMs: 0,
    tokens: [],
    accounts: [],
    limitedTokens: [],
    spentScopes: [],
    models: [],
  };
  listeners = new Set();
  loads = [];
  stored = [];
  isStoreAway = false;
  stuckMs = 600_000;
  gone = [];
  waiting = [];
  open = [];
  server = createLink({
    snapshot: () => snapshot,
    onSnapshot: (listener) => {
      listeners.add(listener);
      happened();
      return () => {
        listeners.delete(listener);
        happened();
      };
    },
    onLoad: (report) => loads.push(report),
    metrics: async () => "control_says_so 1\n",
    judgeScope: async ({ jwt }) => ({ ok: false, reason: `no ${jwt}` }),
    onRecords: async ({ records }) => {
      if (isStoreAway) throw new Error("the disk is full");
      stored.push(...records.map(({ id }) => id));
    },
    onGatewayGone: (id) => {
      gone.push(id);
      happened();
    },
    log: () => undefined,
    get stuckMs() {
      return stuckMs;
    },
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
});

afterEach(async () => {
  for (const each of open) each.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

type Reader = {
  /** Versions in the order of their lines; null for a heartbeat. */
  readonly versions: (number | null)[];
  readonly response: IncomingMessage;
  /** Begins to read, where it does not from the start. */
  read(): void;
};

async function readRoutes(gateway: string, isReading = true): Promise<Reader> {
  const versions: (number | null)[] = [];
  let rest: string[] = [];
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request({ socketPath, path: `/routes?gateway=${gateway}`, agent: false }, resolve);
    asked.on("error", reject);
    open.push(asked);
    asked.end();
  });
  response.on("error", () => undefined); // tests leave while the stream is open
  response.setEncoding("utf8");
  const read = () => {
    response.on("data", (text: string) => {
      const [end = "", ...starts] = text.split("\n");
      rest.push(end);
      for (const start of starts) {
        const line = rest.join("");
        versions.push(line === "" ? null : (JSON.parse(line) as RoutingSnapshot).version);
        rest = [start];
      }
      happened();
    });
  };
  if (isReading) read();
  return { versions, response, read };
}

async function post(path: string, body: string): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method: "POST", agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

const snapshotsOf = (reader: Reader) => reader.versions.filter((version) => version !== null);

test("the first snapshot comes at once, then each change, many of them as one, and a heartbeat", async () => {
  const reader = await readRoutes("g1");
  await until(() => reader.versions.length === 1);
  publish();
  publish();
  publish();
  await until(() => reader.versions.includes(4));
  expect(snapshotsOf(reader)).toEqual([1, 4]);
  await until(() => reader.versions.includes(null));
});

test("a gateway has every picture that it is told the changes of, also after the link broke", async () => {
  const model = (deploymentId: string, contextTokens: number): RouteModel => ({
    ...{ deploymentId, name: `a/${deploymentId}`, account: "a", isPublic: true, state: "asleep", reason: "" },
    ...{ loadTimeMs: null, createdAtMs: 1, contextTokens, task: "text-generation", version: "" },
    ...{ abilities: unknownAbilities, prices: freeOfCharge, instances: [] },
  });
  let seen: RoutingSnapshot | null = null;
  const gateway = createGatewayLink({
    ...{ gatewayId: "g1", linkSocket: socketPath, snapshotMaxAgeMs: 60_000, silenceMs: 60_000 },
    ...{ clock: systemClock, log: () => undefined, load: () => ({}) },
    onSnapshot(next) {
      seen = next;
      happened();
    },
  });
  const tell = async (models: readonly RouteModel[], spentScopes: readonly string[]) => {
    snapshot = { ...snapshot, version: snapshot.version + 1, models, spentScopes };
    for (const listener of listeners) listener();
    await until(() => seen?.version === snapshot.version);
    expect(seen).toEqual(snapshot);
  };
  const [d1, d2, d3] = [model("d1", 1), model("d2", 1), model("d3", 1)];
  gateway.start();
  await until(() => listeners.size === 1);
  await tell([d1, d2], []);
  await tell([d1, model("d2", 2), d3], ["s"]);
  await tell([d3], ["s"]);
  server.closeAllConnections();
  await until(() => listeners.size === 0);
  await until(() => listeners.size === 1);
  await tell([d3, d1], []);
  await gateway.stop();
});

test("a slow reader gets the newest snapshot and nothing piles up", async () => {
  const padding = "x".repeat(4 * 2 ** 20);
  publish(padding);
  const slow = await readRoutes("g1", false);
  const quick = await readRoutes("g2");
  await until(() => quick.versions.includes(2));
  for (let count = 0; count < 5; count += 1) {
    publish(padding);
    await until(() => quick.versions.includes(snapshot.version));
  }
  slow.read();
  await until(() => slow.versions.includes(7));
  expect(snapshotsOf(slow)).toEqual([2, 7]);
});

test("a reader that takes nothing is cut in the end, and its gateway is gone with it", async () => {
  publish("x".repeat(4 * 2 ** 20));
  stuckMs = 50;
  await readRoutes("g1", false);
  await until(() => gone.length === 1);
  expect(gone).toEqual(["g1"]);
});

test("a gateway is gone with its last stream", async () => {
  const first = await readRoutes("g1");
  const second = await readRoutes("g1");
  await until(() => first.versions.length === 1 && second.versions.length === 1);
  first.response.destroy();
  await until(() => listeners.size === 1);
  expect(gone).toEqual([]);
  second.response.destroy();
  await until(() => gone.length === 1);
  expect(gone).toEqual(["g1"]);
  expect(listeners.size).toBe(0);
});

test("load reports of gateways that are there are taken, others not", async () => {
  const report = {
    gatewayId: "g1",
    models: { d: { queued: 1, running: 0, lastRequestAtMs: 5, inFlight: { i: 0 } } },
  };
  expect(await post("/load", JSON.stringify(report))).toBe(409);
  await readRoutes("g1");
  expect(await post("/load", JSON.stringify(report))).toBe(204);
  expect(loads).toEqual([report]);
  for (const bad of ["", "{", "[]", JSON.stringify({ ...report, gatewayId: 5 })]) {
    expect(await post("/load", bad)).toBe(400);
  }
  expect(loads).toHaveLength(1);
});

test("a question about a scoped JWT is answered, one that is too large or none is not", async () => {
  expect(await post("/scopes", JSON.stringify({ jwt: "a.b.c" }))).toBe(200);
  for (const bad of ["", "{}", JSON.stringify({ jwt: "x".repeat(20_000) }), JSON.stringify({ jwt: "" })]) {
    expect(await post("/scopes", bad)).toBe(400);
  }
});

test("records are answered when they are stored, whoever brings them", async () => {
  const record = {
    ...{ id: "r1", requestId: "q1", account: "ann", tokenId: "t1", scopeId: null, deploymentId: "d1" },
    ...{ model: "ann/m", instanceId: null, kind: "llm", startedAtMs: 1, durationMs: 1, status: 200 },
    ...{ error: null, inputTokens: 1, outputTokens: 1, cachedTokens: 0, waitedMs: 0, ttftMs: null },
    costNanoUsd: 0,
  };
  const batch = JSON.stringify({ gatewayId: "a gateway of yesterday", records: [record] });
  isStoreAway = true;
  expect(await post("/records", batch)).toBe(503);
  expect(stored).toEqual([]);
  isStoreAway = false;
  expect(await post("/records", batch)).toBe(204);
  expect(stored).toEqual(["r1"]);
  for (const bad of [
    "",
    "{",
    JSON.stringify({ gatewayId: "g", records: [{ ...record, requestId: "\u0000" }] }),
  ]) {
    expect(await post("/records", bad)).toBe(400);
  }
  expect(stored).toEqual(["r1"]);
});

test("nothing else is there", async () => {
  expect(await post("/routes", "")).toBe(404);
  expect(await post("/deploy/llm", "{}")).toBe(404);
  expect((await readRoutes("")).response.statusCode).toBe(400);
});
