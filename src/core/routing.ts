/**
 * The small protocol between control and gateway: control streams routing snapshots down, the gateway reports load up.
 * Both are complete pictures (level, not edge), so that a lost message or a restart on either side heals with the next
 * one. Plain values; `schema/routing.ts` parses them at the gateway's and control's border.
 */
import type { Endpoint } from "./instance.ts";

/**
 * Header of control's answer to a write, for the gateway alone: the version of the routes that knows of the write. The
 * gateway passes the answer on when it goes by that version or a later one.
 */
export const routesVersionHeader = "x-berth-routes-version";

export type RouteInstance = {
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly secret: string;
  readonly slots: number;
  /** Takes nothing new; what it has in flight is finished. */
  readonly isDraining: boolean;
};

/**
 * ready: at least one instance answers; starting: wait for one; asleep: at zero, a request wakes it; off: stopped,
 * failed or max 0, and no request will change that (503 with `reason`); gone: deleted, no request finds it, and it is
 * here only so that gateways say what its last instances still have.
 */
export type RouteState = "ready" | "starting" | "asleep" | "off" | "gone";

export type RouteModel = {
  readonly deploymentId: string;
  /** Full name. */
  readonly name: string;
  readonly account: string;
  readonly isPublic: boolean;
  readonly state: RouteState;
  /** For a person, when state is not ready: why, and what to do. */
  readonly reason: string;
  /** Expected milliseconds from wake to ready as learned from earlier loads, null when unknown. */
  readonly loadTimeMs: number | null;
  readonly createdAtMs: number;
  readonly contextTokens: number;
  readonly task: string;
  readonly instances: readonly RouteInstance[];
};

export type RouteToken = {
  /** sha256 (hex) of the secret. */
  readonly hash: string;
  readonly tokenId: string;
  readonly account: string;
};

export type RoutingSnapshot = {
  readonly version: number;
  readonly atMs: number;
  readonly tokens: readonly RouteToken[];
  readonly models: readonly RouteModel[];
};

export type ModelLoad = {
  /** Requests waiting for a slot or for an instance. */
  readonly queued: number;
  /** Requests at engines. */
  readonly running: number;
  /** Arrival of the newest request, milliseconds since the epoch; null when none was seen. */
  readonly lastRequestAtMs: number | null;
  /**
   * Requests at each instance that has some, and at each draining one also when it has none: the explicit 0 tells
   * control that this gateway knows of the draining and will send nothing more.
   */
  readonly inFlight: Readonly<Record<string, number>>;
};

/** One gateway's load. A deployment that is absent has none. */
export type LoadReport = {
  readonly gatewayId: string;
  readonly models: Readonly<Record<string, ModelLoad>>;
};

export const noLoad: ModelLoad = { queued: 0, running: 0, lastRequestAtMs: null, inFlight: {} };
