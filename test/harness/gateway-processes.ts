/**
 * Real gateway processes under a real supervisor, between a stand-in for control and engines that live in the test itself:
 * so the test sees every request as an engine sees it. Each engine would take far more requests than its slots, so that
 * one too many is counted, not refused.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RouteInstance, RouteModel } from "../../src/core/routing.ts";
import { annToken, createFakeControl, type FakeControl, modelOf } from "../../src/gateway/test-rig.ts";
import { runDirectory } from "../../src/supervisor/run-directory.ts";
import { createFakeEngine, type FakeEngine } from "../../tools/fake-engine/engine.ts";
import { startGatewayGroup } from "./gateway-group.ts";
import { until } from "./until.ts";

export type Outcome = {
  /** 0 when no answer began. */
  readonly status: number;
  readonly isWhole: boolean;
};

export type GatewayProcesses = {
  readonly port: number;
  readonly control: FakeControl;
  readonly engines: readonly FakeEngine[];
  /** Those that are alive. */
  pids(): number[];
  /** A request over a connection of its own. */
  ask(given?: {
    readonly token?: string;
    readonly deployment?: number;
    readonly text?: string;
  }): Promise<Outcome>;
  /** What all of them have in flight and waiting, as they have told control. */
  load(): { readonly running: number; readonly queued: number };
  /** Resolves when nothing is in flight or waits, and all say so. */
  idle(): Promise<void>;
  end(): Promise<void>;
};

/**
 * Three deployments of one account, `ann/chat-0` to `ann/chat-2`, each with one instance of `slots` slots.
 * @param env more settings of the processes
 * @param hangMs who is silent for so long is replaced
 */
export async function startGatewayProcesses(
  count: number,
  slots: number,
  {
    env = {},
    hangMs = 6000,
  }: { readonly env?: Readonly<Record<string, string>>; readonly hangMs?: number } = {},
): Promise<GatewayProcesses> {
  const home = mkdtempSync(join(tmpdir(), "berth-processes-"));
  const directory = runDirectory(home);
  const control = createFakeControl(join(directory, "link.sock"), join(directory, "api.sock"));
  const engines: FakeEngine[] = [];
  const models: RouteModel[] = [];
  for (const at of [0, 1, 2]) {
    const engine = createFakeEngine({ slots: 1000, tokens: 10, delayMs: 4 });
    const path = join(home, `engine-${at}`);
    await engine.listen({ socket: path });
    engines.push(engine);
    const endpoint = { kind: "unix", path } as const;
    const instance: RouteInstance = {
      id: `i${at}`,
      endpoint,
      secret: "fake-secret",
      slots,
      isDraining: false,
    };
    models.push(modelOf([instance], { deploymentId: `d${at}`, name: `ann/chat-${at}`, isPublic: true }));
  }
  control.publish(models);
  await control.listen();
  const group = await startGatewayGroup(home, count, { logLevel: "error", hangMs, env });
  /** Each process's last word, of those that follow the routes. */
  const load = () => {
    const models = control.reports().flatMap((report) => Object.values(report.models));
    return {
      running: models.reduce((sum, one) => sum + one.running, 0),
      queued: models.reduce((sum, one) => sum + one.queued, 0),
    };
  };
  return {
    port: group.port,
    control,
    engines,
    pids: () => group.pids(),
    ask: ({ token = annToken, deployment = 0, text = "hi" } = {}) =>
      askOnce(group.port, token, {
        model: `ann/chat-${deployment}`,
        stream: true,
        messages: [{ role: "user", content: text }],
      }),
    load,
    async idle() {
      await until("everything to be over", () => {
        const { running, queued } = load();
        return running + queued === 0 && engines.every(({ busy }) => busy === 0);
      });
    },
    async end() {
      await group.end();
      await control.kill();
      for (const engine of engines) await engine.kill();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function askOnce(port: number, token: string, body: object): Promise<Outcome> {
  const asked = request({
    ...{ host: "127.0.0.1", port, method: "POST", path: "/v1/chat/completions", agent: false },
    headers: { authorization: `Bearer ${token}` },
  });
  asked.end(JSON.stringify(body));
  let status = 0;
  try {
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    status = response.statusCode ?? 0;
    let text = "";
    for await (const piece of response) text += String(piece);
    return { status, isWhole: text.endsWith("data: [DONE]\n\n") && !text.includes('"error"') };
  } catch {
    return { status, isWhole: false }; // cut, which is what the test asks about
  }
}
