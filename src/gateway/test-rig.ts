/**
 * A gateway between real sockets for this room's tests: a small control on two Unix sockets below it, fake engines
 * behind it, bare TCP clients in front. Only tests import it.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { createFakeEngine, type FakeEngine, type FakeEngineOptions } from "../../tools/fake-engine/engine.ts";
import { unknownAbilities } from "../core/abilities.ts";
import type {
  LoadReport,
  RouteInstance,
  RouteModel,
  RouteRates,
  RouteToken,
  ScopeVerdict,
} from "../core/routing.ts";
import { freeOfCharge } from "../core/usage.ts";
import { loadReport, scopeQuestion } from "../schema/routing.ts";
import type { GatewayLimits, GatewayOptions } from "./options.ts";
import type { RequestRecord } from "./record.ts";
import { createGateway, type Gateway } from "./server.ts";

export const annToken = "ann-token-1234567890";
export const bobToken = "bob-token-1234567890";

export const rigLimits: GatewayLimits = {
  waitMs: 20_000,
  queueMax: 100,
  keepAliveMs: 0,
  queueBytes: 16 * 1024 * 1024,
  bodyBytes: 1024 * 1024,
  drainMs: 200,
  headMs: 30_000,
  connectionsMax: 20_000,
  uploadMs: 300_000,
  snapshotMaxAgeMs: 3_600_000,
  connectMs: 5000,
  slotWaitMs: 20_000,
  firstTokenMs: 20_000,
  totalMs: 60_000,
  silenceMs: 20_000,
};

export type Rig = {
  readonly gateway: Gateway;
  readonly url: string;
  readonly port: number;
  readonly control: FakeControl;
  readonly records: RequestRecord[];
  readonly logs: string[];
  /** Starts an engine on a Unix socket and answers it with the route to it. */
  engine(given?: Partial<FakeEngineOptions>): Promise<{ engine: FakeEngine; instance: RouteInstance }>;
  /** Publishes these models and waits until the gateway has them. */
  publish(...models: RouteModel[]): Promise<void>;
  /** A request to a path, as ann unless other headers say otherwise. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  chat(fields?: Record<string, unknown>, init?: RequestInit): Promise<Response>;
  /** Resolves when nothing is at engines or waits. */
  idle(): Promise<void>;
};

/** Starts everything; it is taken down when the test is over. */
export async function startRig(
  given: Partial<Omit<GatewayOptions, "limits">> & {
    limits?: Partial<GatewayLimits>;
    isControlAway?: boolean;
  } = {},
): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "berth-gateway-"));
  const control = createFakeControl(join(dir, "link"), join(dir, "api"));
  const records: RequestRecord[] = [];
  const logs: string[] = [];
  const { limits, isControlAway = false, ...rest } = given;
  const gateway = createGateway({
    gatewayId: "gateway-1",
    linkSocket: join(dir, "link"),
    apiSocket: join(dir, "api"),
    host: "127.0.0.1",
    port: 0,
    tls: null,
    trustedProxies: [],
    corsOrigins: [],
    webhookTargets: [],
    limits: { ...rigLimits, ...limits },
    continuesStreams: true,
    clock: {
      now: Date.now,
      sleep: async (ms, signal) => {
        await sleep(ms, undefined, { signal });
      },
    },
    log: (level, message, fields) => logs.push(`${level} ${message} ${JSON.stringify(fields)}`),
    onRecord: (record) => records.push(record),
    ...rest,
  });
  const engines: FakeEngine[] = [];
  onTestFinished(async () => {
    await gateway.stop();
    await control.kill();
    for (const engine of engines) await engine.kill();
    await rm(dir, { recursive: true, force: true });
  });
  if (!isControlAway) await control.listen();
  const { port } = await gateway.start();
  const scheme = rest.tls === undefined || rest.tls === null ? "http" : "https";
  const url = `${scheme}://127.0.0.1:${port}`;
  const rig: Rig = {
    gateway,
    url,
    port,
    control,
    records,
    logs,
    async engine(options = {}) {
      const engine = createFakeEngine(options);
      const id = `i${engines.length + 1}`;
      const path = join(dir, id);
      engines.push(engine);
      await engine.listen({ socket: path });
      const { slots = 4, secret = "fake-secret" } = options;
      return { engine, instance: { id, endpoint: { kind: "unix", path }, secret, slots, isDraining: false } };
    },
    async publish(...models) {
      const version = control.publish(models);
      await eventually(() => {
        if (!logs.some((line) => line.includes(`"version":${version},`)))
          throw new Error("no new routes yet");
      });
    },
    ask: (path, init = {}) =>
      fetch(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${annToken}`, ...init.headers } }),
    chat: (fields = {}, init = {}) =>
      rig.ask("/v1/openai/chat/completions", {
        method: "POST",
        body: JSON.stringify({ model: "ann/chat", messages: [{ role: "user", content: "hi" }], ...fields }),
        ...init,
      }),
    async idle() {
      await eventually(() => {
        const { running, queued } = gateway.load();
        if (running + queued > 0) throw new Error(`${running} running, ${queued} queued`);
      });
    },
  };
  return rig;
}

/** A model of ann's that runs on these instances. */
export function modelOf(instances: readonly RouteInstance[], given: Partial<RouteModel> = {}): RouteModel {
  return {
    deploymentId: "d1",
    name: "ann/chat",
    account: "ann",
    isPublic: false,
    state: "ready",
    reason: "",
    loadTimeMs: null,
    createdAtMs: 1_700_000_000_000,
    contextTokens: 2048,
    task: "text-generation",
    version: "9d89262b7cb9d614186c0bcab12f1345ac940d84",
    abilities: unknownAbilities,
    prices: freeOfCharge,
    instances,
    ...given,
  };
}

export type FakeControl = {
  readonly loads: LoadReport[];
  /** The last load of each gateway that follows the routes. */
  reports(): LoadReport[];
  /** Go out with the next snapshot. */
  tokens: readonly RouteToken[];
  spentScopes: readonly string[];
  /** Answers the question about a scoped JWT. */
  judge(jwt: string): ScopeVerdict;
  /** Scoped JWTs that were asked about. */
  readonly asked: string[];
  accounts: readonly RouteRates[];
  limitedTokens: readonly RouteRates[];
  /** What the public API answers. */
  api: RequestListener;
  /** Answers the version of the new snapshot. */
  publish(models: readonly RouteModel[]): number;
  listen(): Promise<void>;
  kill(): Promise<void>;
};

export function createFakeControl(linkSocket: string, apiSocket: string): FakeControl {
  /** With the gateway that each one is. */
  const followers = new Map<ServerResponse, string>();
  const loads: LoadReport[] = [];
  let models: readonly RouteModel[] = [];
  let version = 0;
  let servers: Server[] = [];
  const heartbeat = setInterval(() => {
    for (const follower of followers.keys()) follower.write("\n");
  }, 2000);
  const line = () =>
    `${JSON.stringify({ version, atMs: Date.now(), tokens: control.tokens, accounts: control.accounts, limitedTokens: control.limitedTokens, spentScopes: control.spentScopes, models })}\n`;
  const asked: string[] = [];
  const control: FakeControl = {
    loads,
    reports: () =>
      [...followers.values()].flatMap((id) => loads.findLast(({ gatewayId }) => gatewayId === id) ?? []),
    asked,
    accounts: [],
    limitedTokens: [],
    spentScopes: [],
    judge: () => ({ ok: false, reason: "no judge here" }),
    tokens: [
      {
        hash: createHash("sha256").update(annToken).digest("hex"),
        tokenId: "t-ann",
        account: "ann",
        allowedIps: null,
        isAdmin: true,
      },
      {
        hash: createHash("sha256").update(bobToken).digest("hex"),
        tokenId: "t-bob",
        account: "bob",
        allowedIps: null,
        isAdmin: false,
      },
    ],
    api: (_request, response) => response.writeHead(404).end('{"error":"no such path"}'),
    publish(next) {
      models = next;
      version += 1;
      for (const follower of followers.keys()) follower.write(line());
      return version;
    },
    async listen() {
      const link = createServer((request, response) => {
        if (request.url?.startsWith("/routes") === true) {
          response.writeHead(200, { "content-type": "application/x-ndjson" });
          response.write(line());
          followers.set(response, new URL(request.url, "http://control").searchParams.get("gateway") ?? "");
          response.once("close", () => followers.delete(response));
          return;
        }
        let text = "";
        request.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        request.on("end", () => {
          if (request.url === "/metrics") {
            response.end("control_says_so 1\n");
            return;
          }
          if (request.url === "/scopes") {
            const { jwt } = scopeQuestion.parse(JSON.parse(text));
            asked.push(jwt);
            response.end(JSON.stringify(control.judge(jwt)));
            return;
          }
          if (request.url === "/records") {
            response.writeHead(204).end();
            return;
          }
          loads.push(loadReport.parse(JSON.parse(text)));
          response.writeHead(204).end();
        });
      });
      const api = createServer((request, response) => control.api(request, response));
      servers = [link, api];
      await Promise.all([
        once(link.listen(linkSocket), "listening"),
        once(api.listen(apiSocket), "listening"),
      ]);
    },
    async kill() {
      clearInterval(heartbeat);
      for (const server of servers) {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        await closed;
      }
      servers = [];
    },
  };
  return control;
}

/** A bare connection: what is written goes out as it is, what comes in is kept as it came. */
export async function bareClient(port: number): Promise<{
  readonly socket: Socket;
  readonly received: () => string;
  /** Resolves when what was received satisfies the condition. */
  until(condition: (text: string) => boolean): Promise<string>;
  closed(): Promise<string>;
}> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const pieces: Buffer[] = [];
  socket.on("data", (piece) => pieces.push(piece));
  socket.on("error", () => undefined);
  const isClosed = new Promise((resolve) => socket.once("close", resolve));
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  socket.on("end", () => socket.end());
  const received = () => Buffer.concat(pieces).toString("latin1");
  return {
    socket,
    received,
    async until(condition) {
      await eventually(() => {
        if (!condition(received())) throw new Error(`so far: ${received()}`);
      });
      return received();
    },
    async closed() {
      await isClosed;
      return received();
    },
  };
}

/** An HTTP/1.1 request as text. */
export function requestText(
  path: string,
  body: string,
  headers: readonly string[] = [],
  start = `POST ${path} HTTP/1.1`,
): string {
  return [
    start,
    "host: test",
    `authorization: Bearer ${annToken}`,
    `content-length: ${Buffer.byteLength(body)}`,
    ...headers,
    "",
    body,
  ].join("\r\n");
}
