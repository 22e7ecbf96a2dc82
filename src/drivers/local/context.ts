/** What the parts of the local driver share: the outside they act on, its limits, and the driver's own switches. */
import type { Clock } from "../../ports/clock.ts";
import type { Engine } from "../../ports/engine.ts";
import type { Bounder } from "./bounder.ts";
import type { Containers } from "./containers/containers.ts";
import type { HealthLimits } from "./health.ts";
import type { Instance } from "./instance.ts";
import type { Isolator } from "./isolation.ts";
import type { LogLimits, LogShelf } from "./logs.ts";
import type { ProcessTable } from "./process.ts";
import type { InstanceFolders } from "./record.ts";

export type LocalLimits = Omit<HealthLimits, "readyTimeoutMs"> &
  LogLimits & {
    /** How long an engine may take to answer one probe. */
    readonly probeTimeoutMs: number;
    /** How long an engine that says it is ready may take to its first token. */
    readonly firstTokenMs: number;
    /** How often output and an adopted process are looked at. */
    readonly lookIntervalMs: number;
    /** How long an engine that the driver gives up may take to end politely. */
    readonly endGraceMs: number;
  };

export type LocalContext = {
  readonly limits: LocalLimits & HealthLimits;
  readonly clock: Clock;
  readonly engines: ReadonlyMap<string, Engine>;
  /** Where engines inherit PATH, HOME, locale and the like from. */
  readonly environment: NodeJS.ProcessEnv;
  readonly processes: ProcessTable;
  readonly folders: InstanceFolders;
  readonly shelf: LogShelf;
  readonly isolator: Isolator;
  readonly bounder: Bounder;
  /** Null where no container runtime is. */
  readonly containers: Containers | null;
  readonly socketDirectory: string;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
  /** Something an observer can see has changed. */
  changed(instance: Instance): void;
  /** Gives an instance that lives or has ended into the driver's care. */
  keep(instance: Instance): void;
  /** In the driver's care, or just being started or removed. */
  isKept(instanceId: string): boolean;
  /** Takes stock of the GPUs anew; never rejects. */
  lookAtGpus(): Promise<void>;
};
