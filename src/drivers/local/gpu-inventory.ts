/**
 * The GPUs of this machine as they are now: reads them, keeps the last picture while the driver does not answer, looks again at
 * intervals and when told to, and says when what may be offered has changed. Costs nothing where there is no GPU.
 */
import type { NodeGpu } from "../../core/instance.ts";
import type { Clock } from "../../ports/clock.ts";
import { type GpuOwners, judgeGpus, type NvidiaInventory } from "./gpu-judge.ts";
import { openNvidiaTool } from "./nvidia-query.ts";
import { findOtherGpus } from "./other-gpus.ts";

/** A picture that is older is taken anew before it is shown. */
const oldestMs = 60_000;

export type GpuInventoryOptions = {
  readonly clock: Clock;
  /** PATH is where tools are looked for. */
  readonly environment: NodeJS.ProcessEnv;
  /** `nvidia-smi`, or the path of it. */
  readonly nvidiaSmi: string;
  readonly pollMs: number;
  /** An engine that uses GPUs is installed. */
  readonly isOfUse: boolean;
  readonly platform: NodeJS.Platform;
  /** Whose processes and GPUs are this Berth's own. */
  owners(): Promise<GpuOwners>;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

export type GpuInventory = {
  /** The picture, taken now where there is none that is new enough. */
  read(): Promise<readonly NodeGpu[]>;
  /** Takes it anew. Never rejects. */
  refresh(): Promise<void>;
  /** Looks again and again from now on; calls back when what may be offered has changed. */
  watch(onChange: () => void): () => void;
  close(): Promise<void>;
};

const nobody: GpuOwners = { pids: new Set(), held: new Set() };

export function openGpuInventory(options: GpuInventoryOptions): GpuInventory {
  const { clock, log } = options;
  const tool = openNvidiaTool({ ...options, program: options.nvidiaSmi });
  const listeners = new Set<() => void>();
  const closing = new AbortController();
  let gpus: readonly NodeGpu[] = [];
  let others: readonly NodeGpu[] | null = null;
  let hasNvidia = false;
  let readAtMs: number | null = null;
  let reading: Promise<void> | null = null;
  let polling: Promise<void> | null = null;

  async function take(): Promise<void> {
    const before = describeOffer(gpus);
    const isFirst = readAtMs === null;
    try {
      // Engines that end during the question are still known as ours after it.
      const earlier = hasNvidia || isFirst ? await options.owners() : nobody;
      const inventory = await tool.read(earlier.held);
      hasNvidia = inventory !== null && inventory.gpus.length > 0;
      const own = hasNvidia ? joinOwners(earlier, await options.owners()) : nobody;
      others ??= await findOtherGpus(options.environment, options.platform);
      gpus = [...judgeGpus(inventory ?? none, own, options.isOfUse), ...others];
    } catch (error) {
      log("warn", "the GPUs could not be listed; the last list stays", { error: String(error) });
    }
    readAtMs = clock.now();
    const after = describeOffer(gpus);
    if (before === after) return;
    report(isFirst);
    if (!isFirst) for (const listener of listeners) listener();
  }

  function report(isFirst: boolean): void {
    const away = gpus
      .filter(({ outage }) => outage !== undefined)
      .map(({ id, reason }) => `${id}: ${reason}`);
    const { driver = null, cuda = null } = tool.versions ?? {};
    log(away.length === 0 ? "info" : "warn", isFirst ? "GPUs were found" : "the GPUs have changed", {
      ...{ driver, cuda, gpus: gpus.map(({ name, type }) => `${name} (${type})`), away },
    });
  }

  /** Who asks during a look gets the next one: this one may not have seen what they know of. */
  async function refresh(): Promise<void> {
    const underWay = reading;
    if (underWay !== null) await underWay;
    reading ??= take().finally(() => {
      reading = null;
    });
    await reading;
  }

  async function poll(): Promise<void> {
    while (!closing.signal.aborted) {
      const isOver = await clock.sleep(options.pollMs, closing.signal).then(
        () => false,
        () => true,
      );
      if (isOver) return;
      if (hasNvidia && options.isOfUse && clock.now() - (readAtMs ?? 0) >= options.pollMs) await refresh();
    }
  }

  return {
    async read() {
      if (readAtMs === null || clock.now() - readAtMs > oldestMs) await (reading ?? refresh());
      return gpus;
    },
    refresh,
    watch(onChange) {
      listeners.add(onChange);
      polling ??= poll();
      return () => listeners.delete(onChange);
    },
    async close() {
      listeners.clear();
      closing.abort();
      await polling;
      await reading;
    },
  };
}

const none: NvidiaInventory = { gpus: [], lost: new Map(), sliceIds: new Map(), neighbours: [] };

function joinOwners(a: GpuOwners, b: GpuOwners): GpuOwners {
  return { pids: new Set([...a.pids, ...b.pids]), held: new Set([...a.held, ...b.held]) };
}

/** What a change of matters; how much of a GPU somebody holds changes all the time. */
function describeOffer(gpus: readonly NodeGpu[]): string {
  return JSON.stringify(gpus.map(({ id, type, usable, outage }) => [id, type, usable, outage ?? null]));
}
