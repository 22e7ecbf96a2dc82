/**
 * Fairness: what one account's flood does to another's first token. Two accounts ask one deployment through a real
 * gateway; the polite one always has as many requests open as there are slots. In the first run the other one does the
 * same, in the second it has ten times as many. The bar: the polite account's 95th percentile of the time to the first
 * token is at most 1.5 times what it is beside its equal.
 *
 *   node bench/gateway/fairness.ts [seconds a run, default 20]
 *
 * Workload: two instances (tools/fake-engine) of four slots, answers of 20 tokens with 10 ms before each. Both runs take
 * turns, three times each; the medians are compared.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { unknownAbilities } from "../../src/core/abilities.ts";
import type { RoutingSnapshot } from "../../src/core/routing.ts";
import { freeOfCharge } from "../../src/core/usage.ts";
import { createGateway } from "../../src/gateway/server.ts";
import { createFakeEngine } from "../../tools/fake-engine/engine.ts";

const runMs = Number(process.argv[2] ?? 20) * 1000;
const rounds = 3;
const limit = 1.5;
const [instances, slotsEach, floodFactor] = [2, 4, 10];
const slots = instances * slotsEach;

const folder = mkdtempSync(join(tmpdir(), "berth-fairness-"));
const engines = Array.from({ length: instances }, () =>
  createFakeEngine({ slots: slotsEach, tokens: 20, delayMs: 10 }),
);
for (const [at, engine] of engines.entries()) await engine.listen({ socket: join(folder, `engine-${at}`) });

const snapshot: RoutingSnapshot = {
  version: 1,
  atMs: Date.now(),
  tokens: ["polite", "other"].map((account) => ({
    hash: createHash("sha256").update(`${account}-token`).digest("hex"),
    tokenId: account,
    account,
    allowedIps: null,
    isAdmin: false,
  })),
  accounts: [],
  limitedTokens: [],
  spentScopes: [],
  models: [
    {
      ...{ deploymentId: "d", name: "polite/model", account: "polite", isPublic: true, state: "ready" },
      ...{ reason: "", loadTimeMs: null, createdAtMs: 0, contextTokens: 2048, task: "text-generation" },
      version: "",
      abilities: unknownAbilities,
      prices: freeOfCharge,
      instances: engines.map((_, at) => ({
        id: `i${at}`,
        endpoint: { kind: "unix", path: join(folder, `engine-${at}`) },
        secret: "fake-secret",
        slots: slotsEach,
        isDraining: false,
      })),
    },
  ],
};

const control = createServer((asked, response) => {
  asked.resume();
  if (asked.url?.startsWith("/routes") !== true) response.writeHead(204).end();
  else response.writeHead(200).write(`${JSON.stringify(snapshot)}\n`);
});
await once(control.listen(join(folder, "link")), "listening");
const heartbeat = setInterval(() => control.emit("beat"), 2000);
control.on("request", (_asked, response) => {
  const beat = () => response.writable && !response.writableEnded && response.write("\n");
  control.on("beat", beat);
  response.once("close", () => control.off("beat", beat));
});

const gateway = createGateway({
  gatewayId: "fairness",
  linkSocket: join(folder, "link"),
  apiSocket: join(folder, "api"),
  host: "127.0.0.1",
  port: 0,
  tls: null,
  trustedProxies: [],
  continuesStreams: true,
  webhookTargets: [],
  corsOrigins: [],
  limits: {
    ...{ waitMs: 60_000, slotWaitMs: 60_000, queueMax: 1000, queueBytes: 2 ** 28, keepAliveMs: 0 },
    ...{
      bodyBytes: 2 ** 20,
      headMs: 30_000,
      connectionsMax: 20_000,
      uploadMs: 300_000,
      drainMs: 1000,
      snapshotMaxAgeMs: 3_600_000,
      connectMs: 5000,
    },
    ...{ firstTokenMs: 60_000, totalMs: 120_000, silenceMs: 60_000 },
  },
  clock: {
    now: Date.now,
    sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  },
  log: () => undefined,
});
const { port } = await gateway.start();
await gateway.routed;
const agent = new Agent({ keepAlive: true });

/** Milliseconds to the first piece of the answer, after reading all of it. */
async function ask(account: string): Promise<number> {
  const body = JSON.stringify({
    model: "polite/model",
    messages: [{ role: "user", content: "hi" }],
    stream: true,
  });
  const startedAtMs = performance.now();
  return await new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${account}-token`, "content-length": body.length };
    const asked = request({
      port,
      host: "127.0.0.1",
      method: "POST",
      path: "/v1/chat/completions",
      headers,
      agent,
    });
    asked.on("error", reject).end(body);
    asked.on("response", (response) => {
      if (response.statusCode !== 200) reject(new Error(`the gateway answered ${response.statusCode}`));
      let firstMs = 0;
      response.on("data", () => {
        firstMs ||= performance.now() - startedAtMs;
      });
      response.on("error", reject).on("end", () => resolve(firstMs));
    });
  });
}

/** 95th percentile of the polite account's first tokens beside another that has so many requests open. */
async function run(otherOpen: number): Promise<number> {
  const endsAtMs = performance.now() + runMs;
  const times: number[] = [];
  const client = async (account: string) => {
    while (performance.now() < endsAtMs) {
      const firstMs = await ask(account);
      if (account === "polite") times.push(firstMs);
    }
  };
  await Promise.all([
    ...Array.from({ length: otherOpen }, () => client("other")),
    ...Array.from({ length: slots }, () => client("polite")),
  ]);
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.95)] ?? 0;
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const equal: number[] = [];
const flooded: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  equal.push(await run(slots));
  flooded.push(await run(slots * floodFactor));
}
const ratio = median(flooded) / median(equal);
console.log(`first token of the polite account, 95th percentile, ${slots} slots, ${rounds} rounds`);
console.log(`beside its equal    ${median(equal).toFixed(0)} ms`);
console.log(`beside ${floodFactor} times more ${median(flooded).toFixed(0)} ms`);
console.log(`ratio ${ratio.toFixed(2)}, bar ${limit}: ${ratio <= limit ? "held" : "MISSED"}`);
process.exitCode = ratio <= limit ? 0 : 1;

clearInterval(heartbeat);
agent.destroy();
await gateway.stop();
control.closeAllConnections();
control.close();
for (const engine of engines) await engine.kill();
rmSync(folder, { recursive: true });
