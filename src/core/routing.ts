/**
 * The small protocol between control and gateway: control streams routing snapshots down, the gateway reports load up.
 * Both are complete pictures (level, not edge), so that a restart on either side heals with the next one; of snapshots only
 * what has changed is sent on (core/route-changes.ts). Plain values; `schema/routing.ts` parses them at the gateway's and control's border.
 */
import type { Abilities } from "./abilities.ts";
import type { Endpoint } from "./instance.ts";
import type { TokenPrices, UsageRecord } from "./usage.ts";

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
  /** Commit of its weights, "" until it is known. */
  readonly version: string;
  /** What its engine can do; `unknownAbilities` until the engine is known. */
  readonly abilities: Abilities;
  readonly prices: TokenPrices;
  readonly instances: readonly RouteInstance[];
};

export type RouteToken = {
  /** sha256 (hex) of the secret. */
  readonly hash: string;
  readonly tokenId: string;
  readonly account: string;
  /** Addresses and CIDR ranges it may be used from; null for all. */
  readonly allowedIps: readonly string[] | null;
  /** Its account administers the installation. */
  readonly isAdmin: boolean;
};

/** What an account, or one of its tokens, may use of each model; null for no limit. */
export type RouteRates = {
  /** Of the account, or the id of the token. */
  readonly name: string;
  /** Requests at one model at once, waiting ones among them. */
  readonly concurrentRequests: number | null;
  readonly requestsPerMinute: number | null;
  /** Prompt and generated tokens. */
  readonly tokensPerMinute: number | null;
};

export type RoutingSnapshot = {
  readonly version: number;
  readonly atMs: number;
  readonly tokens: readonly RouteToken[];
  /** Accounts with a limit; one that is absent has none. */
  readonly accounts: readonly RouteRates[];
  /** Tokens with a limit of their own. A scoped JWT counts as its parent. */
  readonly limitedTokens: readonly RouteRates[];
  /** Ids of scoped JWTs (`UsageRecord.scopeId`) that have used up their spending limit. */
  readonly spentScopes: readonly string[];
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
  /** Instances at which requests keep failing, though they are there; absent for none. */
  readonly suspects?: readonly string[] | undefined;
};

/** One gateway's load. A deployment that is absent has none. */
export type LoadReport = {
  readonly gatewayId: string;
  readonly models: Readonly<Record<string, ModelLoad>>;
};

export const noLoad: ModelLoad = { queued: 0, running: 0, lastRequestAtMs: null, inFlight: {} };

/** Body of `POST /records`: the oldest records of a gateway's spool. Stored before the answer, each id once. */
export type RecordBatch = {
  readonly gatewayId: string;
  readonly records: readonly UsageRecord[];
};

/** Body of `POST /scopes`: a scoped JWT that a gateway has not seen before. */
export type ScopeQuestion = { readonly jwt: string };

/** Control's verdict on a scoped JWT. `refused`: forged, expired, or its parent token is gone; `reason` is for the client. */
export type ScopeVerdict =
  | {
      readonly ok: true;
      /** Stable id of the JWT: names it in records; never the JWT itself. */
      readonly scopeId: string;
      readonly account: string;
      /** The parent token. */
      readonly tokenId: string;
      /** Milliseconds since the epoch. */
      readonly expiresAtMs: number;
      /** Full or bare model names; null for all that the account may use. */
      readonly models: readonly string[] | null;
      /** Billionths of a US dollar; null for no limit. */
      readonly spendingLimitNanoUsd: number | null;
      /** Spent so far, by the records that control has. */
      readonly spentNanoUsd: number;
    }
  | { readonly ok: false; readonly reason: string };
