/**
 * A machine with GPUs for tests: control as it really is (API, store, hub, reconciler, local driver) with real engine processes, on
 * a fake `nvidia-smi`. Control can be replaced while engines run. Who holds which GPU is asked of the processes themselves.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noLoad } from "../../src/core/routing.ts";
import { createLocalDriver, type LocalDriver } from "../../src/drivers/local/driver.ts";
import { createReconciler, type Reconciler } from "../../src/reconciler/reconciler.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { type InstalledTool, installFakeTool } from "../../tools/fake-nvidia-smi/installed.ts";
import type { FakeMachine } from "../../tools/fake-nvidia-smi/machine.ts";
import { type RealApi, startRealApi } from "../wire/real-api.ts";
import { fakeGpuEngine } from "./fake-gpu-engine.ts";

export type Holder = {
  readonly pid: number;
  readonly instanceId: string;
  readonly gpus: readonly string[];
};

export type Shown = {
  readonly status: string;
  readonly fail_reason: string;
  readonly instances: { readonly running: number; readonly pending: number };
};

export type GpuRig = {
  readonly api: RealApi;
  readonly tool: InstalledTool;
  /** Deploys the starter as `ann` and returns the id. */
  deploy(name: string, numGpus: number, more?: Record<string, unknown>): Promise<string>;
  shown(id: string): Promise<Shown>;
  /** Codes and texts of the deployment's events, oldest first. */
  events(id: string): Promise<readonly { readonly code: string; readonly text: string }[]>;
  /** What GET /deploy/llm/gpu_availability lists as available, for example "2xH100-80GB". */
  offers(): Promise<readonly string[]>;
  isOffered(configuration: string): Promise<boolean>;
  /** Living engines of this machine, by what their environment says. */
  holders(): Holder[];
  /** What a gateway would tell of requests, by deployment; of others there are none. */
  report(queued: Readonly<Record<string, number>>): void;
  /** Another control takes over; the engines go on. */
  replaceControl(): Promise<void>;
  end(): Promise<void>;
};

type Control = { readonly driver: LocalDriver; readonly reconciler: Reconciler };

export async function startGpuRig(machine: FakeMachine): Promise<GpuRig> {
  const home = mkdtempSync(join(tmpdir(), "berth-gpu-rig-"));
  const tool = installFakeTool(home, machine);
  const engines = new Map([["fake", fakeGpuEngine]]);
  let control: Control | null = null;
  let ids = 0;
  const api = await startRealApi({
    poke: (id) => control?.reconciler.poke(id),
    capacity: async () => (await control?.driver.capacity()) ?? [],
    chooseEngine: ({ files }) => ({
      ...{ engine: "fake", runsOn: "gpu", memory: null },
      files: files.filter(({ path }) => path.endsWith(".gguf")),
    }),
  });

  async function startControl(): Promise<void> {
    const log = () => undefined;
    const driver = createLocalDriver({
      ...{ home, socketDirectory: join(home, "s"), engines, clock: systemClock, log },
      ...{ readyTimeoutMs: 20_000, environment: process.env, isolates: false, programs: [] },
      ...{ nvidiaSmi: tool.program, gpuPollMs: 1000 },
      limits: { lookIntervalMs: 50, probeIntervalMs: 60, endGraceMs: 200 },
    });
    const reconciler = createReconciler({
      ...{ store: api.store, hub: api.hub, driver, engines, clock: systemClock, log },
      engineMemory: "auto",
      limits: {
        loadTries: 3,
        drainMs: 1000,
        inactiveShutdownMs: 900_000,
        stopGraceMs: 500,
        firstTokenMs: 20_000,
        sweepMs: 60_000,
      },
      gpuLimit: async (account) => (await api.store.access.terms(account)).limits.gpus["H100-80GB"] ?? 64,
      newInstanceId: () => {
        ids += 1;
        return `i${ids}`;
      },
      hfToken: async () => null,
    });
    control = { driver, reconciler };
    await reconciler.start();
  }

  async function stopControl(): Promise<void> {
    await control?.reconciler.stop();
    await control?.driver.close();
  }

  async function offers(): Promise<readonly string[]> {
    const { json } = await api.call("GET", "/deploy/llm/gpu_availability");
    const { gpus } = json as { gpus: { gpu_config: string; available: boolean }[] };
    return gpus.filter(({ available }) => available).map(({ gpu_config }) => gpu_config);
  }

  const uuids = new Set(machine.gpus.map(({ uuid }) => uuid));
  await startControl();
  return {
    api,
    tool,
    async deploy(name, numGpus, more = {}) {
      const asked = { model_name: name, gpu: "H100-80GB", num_gpus: numGpus, max_batch_size: 1 };
      const body = { ...asked, hf: { repo: "berth/starter" }, ...more };
      const { status, json, text } = await api.call("POST", "/deploy/llm", { body });
      if (status !== 200) throw new Error(`POST /deploy/llm answered ${status}: ${text}`);
      return (json as { deploy_id: string }).deploy_id;
    },
    async shown(id) {
      return (await api.call("GET", `/deploy/${id}`)).json as Shown;
    },
    async events(id) {
      const { json } = await api.call("GET", `/deploy/${id}/events`);
      return (json as { events: { code: string; text: string }[] }).events;
    },
    offers,
    isOffered: async (configuration) => (await offers()).includes(configuration),
    holders: () => findHolders(uuids),
    report(queued) {
      const lastRequestAtMs = systemClock.now();
      const loads = Object.entries(queued).map(([id, count]) => [
        id,
        { ...noLoad, queued: count, lastRequestAtMs },
      ]);
      control?.reconciler.takeLoad({ gatewayId: "test", models: Object.fromEntries(loads) });
    },
    async replaceControl() {
      await stopControl();
      await startControl();
    },
    async end() {
      await control?.reconciler.endAll();
      await control?.driver.close();
      await api.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

function findHolders(uuids: ReadonlySet<string>): Holder[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid): Holder[] => {
      const environment = readEnvironment(pid);
      const gpus = (environment.get("CUDA_VISIBLE_DEVICES") ?? "").split(",").filter((id) => uuids.has(id));
      if (gpus.length === 0) return [];
      return [{ pid: Number(pid), instanceId: environment.get("BERTH_INSTANCE_ID") ?? "", gpus }];
    });
}

/** Empty for one that has ended: a zombie holds nothing. */
function readEnvironment(pid: string): Map<string, string> {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    return new Map(
      entries.map((entry) => [entry.split("=", 1)[0] ?? "", entry.slice(entry.indexOf("=") + 1)]),
    );
  } catch {
    return new Map();
  }
}
