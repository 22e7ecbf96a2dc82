/** What the gateway is given: addresses, limits, and the outside (time, log) it must not reach for itself. */
import type { SpoolReading } from "./metrics.ts";
import type { RequestRecord } from "./record.ts";

export type Clock = {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields: Record<string, unknown>,
) => void;

/** All times in milliseconds. */
export type GatewayLimits = {
  /** Longest wait for a model that is starting or at zero. */
  readonly waitMs: number;
  /** Connections of clients at once. */
  readonly connectionsMax: number;
  /** Requests that may wait for one deployment. */
  readonly queueMax: number;
  /** Between comments to the client of a stream that waits; 0 for none. */
  readonly keepAliveMs: number;
  /** Bytes of the bodies that may wait for one deployment. */
  readonly queueBytes: number;
  /** Largest inference request body, as sent and as inflated. */
  readonly bodyBytes: number;
  /** Until a request's head has come, and until all of it has. */
  readonly headMs: number;
  readonly uploadMs: number;
  /** How long requests under way may go on after `stop`. */
  readonly drainMs: number;
  /** How long the last routes count while control is away; an hour is a good value. */
  readonly snapshotMaxAgeMs: number;
  /** Until a connection to an engine stands. */
  readonly connectMs: number;
  /** Longest wait for a slot of a model that runs. */
  readonly slotWaitMs: number;
  /** From a connection to the first byte of a stream. */
  readonly firstTokenMs: number;
  /** A whole request, from its first byte to the last of its answer. */
  readonly totalMs: number;
  /** Between bytes of an answer, and for a client that has fallen behind to take some. */
  readonly silenceMs: number;
};

export type GatewayOptions = {
  /** Names this gateway in its reports to control. */
  readonly gatewayId: string;
  /** Unix socket of control's internal protocol. */
  readonly linkSocket: string;
  /** Unix socket of control's public API, which all that is not inference goes to. */
  readonly apiSocket: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Descriptor of a socket that is bound already, in place of host and port; others may hold it too. */
  readonly listenFd?: number;
  /** The processes that share the port and the slots, where there may be several; see peers.ts. */
  readonly shared?: {
    /** This one's name among them. */
    readonly self: string;
    /** Unix socket at which it hears the others. */
    readonly path: string;
    /** There is more than one all the time, not only while one takes another's place. */
    readonly areMany: boolean;
    /** It has as many connections as it may, and has left the port to the others, or room for more again. */
    onRoom(hasRoom: boolean): void;
  };
  /** PEM text; null for plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** Addresses and CIDR ranges whose X-Forwarded headers are believed. */
  readonly trustedProxies: readonly string[];
  /** Origins of web pages that may call, `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Where answers may be posted to; see core/webhook. */
  readonly webhookTargets: readonly string[];
  readonly limits: GatewayLimits;
  /** Streams whose engine fails go on at another one where that is faithful. */
  readonly continuesStreams: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** What waits for control, for metrics. */
  readSpool?(): Promise<SpoolReading>;
  /** Hears of each request once, when it is over. */
  onRecord?(record: RequestRecord): void;
};
