/** What the reconciler is given: the outside as ports, the limits, and sources of ids and tokens. */
import type { Deployment } from "../core/deployment.ts";
import type { MemoryRule } from "../core/engine-memory.ts";
import type { PlanLimits } from "../core/world.ts";
import type { Clock } from "../ports/clock.ts";
import type { Driver } from "../ports/driver.ts";
import type { Engine } from "../ports/engine.ts";
import type { Hub } from "../ports/hub.ts";
import type { Store } from "../ports/store.ts";

export type ReconcilerOptions = {
  readonly store: Store;
  readonly hub: Hub;
  readonly driver: Driver;
  /** In order of preference. */
  readonly engines: ReadonlyMap<string, Engine>;
  readonly clock: Clock;
  readonly limits: PlanLimits & {
    /** How long an engine may take to end before it is killed. */
    readonly stopGraceMs: number;
    /** How long an engine may take to one token when it is asked whether it works. */
    readonly firstTokenMs: number;
    /** How often everything is looked at though nothing asked for it. */
    readonly sweepMs: number;
  };
  /** How much memory engines may have. */
  readonly engineMemory: MemoryRule;
  /** GPUs of a type that an account may hold; absent: any number. */
  gpuLimit?(account: string, gpu: Deployment["config"]["gpu"]): Promise<number>;
  newInstanceId(): string;
  /** The Hugging Face token for this deployment, null for none. */
  hfToken(deployment: Deployment): Promise<string | null>;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};
