/**
 * All that a plan is made from: what is known of one deployment and of what is around it, as values. Decides nothing.
 */
import type { Deployment } from "./deployment.ts";
import type { Failure } from "./failure.ts";
import type { EngineMemory } from "./fit.ts";
import type { MeasuredMemory } from "./fit-measured.ts";
import type { InstanceMemory, InstanceRecord, NodeCapacity } from "./instance.ts";
import type { PlaceInput } from "./place.ts";
import type { ModelLoad } from "./routing.ts";
import type { WorkHistory } from "./scale-history.ts";
import type { Claim } from "./scale-share.ts";

export type PlanLimits = {
  /** Failed tries after which a deployment that never ran is given up. */
  readonly loadTries: number;
  /** Ends in a row after which one that has run is given up; 0 or absent: never. */
  readonly restarts?: number;
  /** How long an instance that drains may finish what it has. */
  readonly drainMs: number;
  /** Idle time to zero where the deployment names none. */
  readonly inactiveShutdownMs: number;
  /** An instance is given up when nothing needed it for this long; absent: what `core/scale` has. */
  readonly scaleDownMs?: number;
  /** As `fullness` and `cover` of `ScaleTuning`. */
  readonly scaleFull?: number;
  readonly scaleCover?: number;
};

export type World = {
  readonly now: number;
  readonly deployment: Deployment;
  /** This deployment's instances with their last observation. */
  readonly instances: readonly InstanceRecord[];
  /** Summed over the gateways; `inFlight` lacks a draining instance until every gateway knows that it drains. */
  readonly load: ModelLoad;
  /** The load lately; absent: nothing is known of it. */
  readonly history?: WorkHistory;
  /** What deployments wait for that found no room. */
  readonly claims?: readonly Claim[];
  /** Of the occupied GPUs those whose instances drain, of all deployments: who waits for some need not be given more. */
  readonly leavingGpus?: ReadonlySet<string>;
  /** Gateways that are connected now. */
  readonly gateways: number;
  /** Work for this deployment that is under way in the background. */
  readonly underWay: {
    readonly resolve: boolean;
    readonly fetch: boolean;
    /** Instances that are being removed. */
    readonly removing: ReadonlySet<string>;
    /** Instances that are asked for a first answer. */
    readonly warming: ReadonlySet<string>;
  };
  /** Instances that left their first request unanswered, with the reason. */
  readonly warmFailures: ReadonlyMap<string, Failure>;
  /** What instances use of memory; absent: nothing is known of it. */
  readonly memory?: ReadonlyMap<string, InstanceMemory>;
  /** When instances last answered a request of the reconciler; absent: none has. */
  readonly answeredAtMs?: ReadonlyMap<string, number>;
  readonly nodes: readonly NodeCapacity[];
  readonly occupiedGpus: ReadonlySet<string>;
  readonly engineRunsOn: "cpu" | "gpu" | null;
  /** What else bounds where instances go; see `core/place`. */
  readonly cpuUse?: PlaceInput["cpuUse"];
  readonly quota?: PlaceInput["quota"];
  readonly cachedOn?: PlaceInput["cachedOn"];
  /** What the engine does with memory; absent: what is usual for the format of the weights. */
  readonly engineMemory?: EngineMemory | null;
  /** What an earlier load of these weights on such GPUs took. */
  readonly measured?: MeasuredMemory | null;
  /** When this control began to watch; nothing is known to be idle for longer than that. */
  readonly watchingSinceMs: number;
  /** When a gateway was last lost; it may still be there, with requests, and come back. Absent: never. */
  readonly gatewaySeenAtMs?: number;
  readonly limits: PlanLimits;
};
