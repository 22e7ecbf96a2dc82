/**
 * The least control that a gateway under measurement needs: routes to one model and one token, on the sockets where the
 * gateway looks for control. Takes whatever gateways report. Must not be used for anything but measuring.
 */

import { hash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { unknownAbilities } from "../../src/core/abilities.ts";
import type { RouteModel, RoutingSnapshot } from "../../src/core/routing.ts";

export const benchToken = "bench-token-1234567890";
export const benchModel = "bench/model";

/** Slots of the one instance: more than are ever asked for at once. */
const slots = 20_000;

export type BenchControl = {
  /** Publishes routes to an engine on this port. */
  route(port: number): void;
  stop(): Promise<void>;
};

export async function startControl(home: string): Promise<BenchControl> {
  const directory = join(home, "run");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const followers = new Set<ServerResponse>();
  let snapshot: RoutingSnapshot = snapshotOf([], 0);
  const send = (follower: ServerResponse) => follower.write(`${JSON.stringify(snapshot)}\n`);
  const link = createServer((request, response) => {
    if (request.url?.startsWith("/routes") === true) {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      followers.add(response);
      response.once("close", () => followers.delete(response));
      send(response);
      return;
    }
    request.resume().once("end", () => response.writeHead(204).end());
  });
  const api = createServer((_request, response) => response.writeHead(404).end());
  const heartbeat = setInterval(() => {
    for (const follower of followers) follower.write("\n");
  }, 1000);
  const servers: Server[] = [link, api];
  await Promise.all([
    once(link.listen(join(directory, "link.sock")), "listening"),
    once(api.listen(join(directory, "api.sock")), "listening"),
  ]);
  return {
    route(port) {
      snapshot = snapshotOf([modelOn(port)], snapshot.version + 1);
      for (const follower of followers) send(follower);
    },
    async stop() {
      clearInterval(heartbeat);
      for (const server of servers) {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        await closed;
      }
    },
  };
}

function snapshotOf(models: RouteModel[], version: number): RoutingSnapshot {
  const token = {
    hash: hash("sha256", benchToken),
    tokenId: "bench",
    account: "bench",
    allowedIps: null,
    isAdmin: false,
  };
  return {
    version,
    atMs: Date.now(),
    tokens: [token],
    accounts: [],
    limitedTokens: [],
    spentScopes: [],
    models,
  };
}

function modelOn(port: number): RouteModel {
  return {
    deploymentId: "benchmodel",
    name: benchModel,
    account: "bench",
    isPublic: false,
    state: "ready",
    reason: "",
    loadTimeMs: null,
    createdAtMs: 1_700_000_000_000,
    contextTokens: 8192,
    task: "text-generation",
    version: "9d89262b7cb9d614186c0bcab12f1345ac940d84",
    abilities: { ...unknownAbilities, engine: "bench", usageByDefault: true, exactContinuation: true },
    prices: { inputUsd: 0.1, outputUsd: 0.2, cachedUsd: 0.05 },
    instances: [
      {
        id: "i1",
        endpoint: { kind: "tcp", host: "127.0.0.1", port },
        secret: "bench",
        slots,
        isDraining: false,
      },
    ],
  };
}
