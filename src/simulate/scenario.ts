/**
 * What happens in a small world: its machines and deployments, what users and clients do, what breaks and when. Plain data
 * that follows from a seed, so that it can be printed, repeated and made smaller.
 */
import type { Quality } from "./machines.ts";
import { createRandom, type Random } from "./random.ts";

export type SimulatedDeployment = {
  readonly id: string;
  readonly min: number;
  readonly max: number;
  readonly slots: number;
  readonly numGpus: number;
  readonly loadMs: number;
  /** Another minimum from one time to another, milliseconds from the beginning. */
  readonly schedule?: { readonly fromMs: number; readonly untilMs: number; readonly min: number };
};

/** At a time, milliseconds from the beginning. */
export type Happening = { readonly atMs: number } & (
  | { readonly what: "request"; readonly deployment: string; readonly workMs: number }
  | { readonly what: "settings"; readonly deployment: string; readonly min: number; readonly max: number }
  | { readonly what: "stop" | "start" | "delete"; readonly deployment: string }
  | { readonly what: "update"; readonly deployment: string; readonly quality: Quality }
  | { readonly what: "crash-control" | "crash-gateway"; readonly gateway: number; readonly downMs: number }
  /** The link between control and a gateway breaks, and what was under way on it is lost. */
  | { readonly what: "cut-link"; readonly gateway: number; readonly downMs: number }
  | { readonly what: "crash-engine" | "hang-load" | "mute-engine"; readonly pick: number }
  | { readonly what: "crash-machine" | "lose-gpu"; readonly pick: number; readonly downMs: number }
  | { readonly what: "fill-disk" | "driver-trouble"; readonly downMs: number }
  | { readonly what: "shift-clock"; readonly byMs: number }
);

export type Scenario = {
  readonly seed: number;
  /** GPUs of each machine. */
  readonly machines: readonly number[];
  readonly gateways: number;
  readonly deployments: readonly SimulatedDeployment[];
  readonly happenings: readonly Happening[];
};

/** Nothing breaks and nobody asks after this time. */
export const quietFromMs = 600_000;

export function createScenario(seed: number): Scenario {
  const random = createRandom(seed);
  const machines = Array.from({ length: random.whole(1, 3) }, () => random.whole(1, 4));
  const gateways = random.whole(1, 2);
  const deployments = Array.from({ length: random.whole(1, 8) }, (_, index): SimulatedDeployment => {
    const min = random.whole(0, 2);
    const max = min + random.whole(min === 0 ? 1 : 0, 2);
    const fromMs = random.whole(1, 5) * 60_000;
    const schedule = { fromMs, untilMs: fromMs + random.whole(1, 4) * 60_000, min: random.whole(0, max) };
    return {
      id: `d${index}`,
      ...(random.next() < 0.2 ? { schedule } : {}),
      ...{ min, max },
      slots: random.whole(1, 4),
      numGpus: random.next() < 0.2 ? 2 : 1,
      loadMs: random.whole(1_000, 60_000),
    };
  });
  const happenings = [
    ...deployments.flatMap(({ id }) => bursts(random, id)),
    ...Array.from({ length: random.whole(0, 6) }, () => command(random, deployments)),
    ...Array.from({ length: random.whole(0, 10) }, () => fault(random, gateways)),
  ].sort((a, b) => a.atMs - b.atMs);
  return { seed, machines, gateways, deployments, happenings };
}

function bursts(random: Random, deployment: string): Happening[] {
  return Array.from({ length: random.whole(0, 4) }).flatMap(() => {
    const fromMs = random.whole(0, quietFromMs - 60_000);
    return Array.from({ length: random.whole(1, 20) }, (): Happening => {
      const workMs = random.whole(200, random.next() < 0.1 ? 60_000 : 8_000);
      return { atMs: fromMs + random.whole(0, 30_000), what: "request", deployment, workMs };
    });
  });
}

const commands = ["settings", "settings", "stop", "start", "update", "update", "delete"] as const;

function command(random: Random, deployments: readonly SimulatedDeployment[]): Happening {
  const atMs = random.whole(1_000, quietFromMs);
  const deployment = `d${random.whole(0, deployments.length - 1)}`;
  const what = random.pick(commands);
  if (what === "update") {
    const quality = random.pick(["good", "good", "mute", "crashes"]);
    return { atMs, what, deployment, quality };
  }
  if (what !== "settings") return { atMs, what, deployment };
  const min = random.whole(0, 2);
  return { atMs, what, deployment, min, max: min + random.whole(0, 2) };
}

const faults = [
  "crash-control",
  "crash-control",
  "crash-gateway",
  "cut-link",
  "crash-engine",
  "crash-engine",
  "hang-load",
  "mute-engine",
  "mute-engine",
  "crash-machine",
  "lose-gpu",
  "fill-disk",
  "driver-trouble",
  "driver-trouble",
  "shift-clock",
] as const;

function fault(random: Random, gateways: number): Happening {
  const atMs = random.whole(1_000, quietFromMs - 60_000);
  const gateway = random.whole(0, gateways - 1);
  const downMs = random.whole(100, 40_000);
  const pick = random.whole(0, 1_000);
  const what = random.pick(faults);
  if (what === "crash-control" || what === "crash-gateway" || what === "cut-link") {
    return { atMs, what, gateway, downMs: what === "cut-link" ? random.whole(10, 4_000) : downMs };
  }
  if (what === "crash-engine" || what === "hang-load" || what === "mute-engine") return { atMs, what, pick };
  if (what === "crash-machine" || what === "lose-gpu") return { atMs, what, pick, downMs };
  if (what === "fill-disk" || what === "driver-trouble") return { atMs, what, downMs };
  return { atMs, what: "shift-clock", byMs: random.whole(-20_000, 20_000) };
}
