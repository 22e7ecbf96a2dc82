/** Who owns deployments, who may call them, and how much of both. Plain values; no I/O. */
import type { GpuType } from "./deployment.ts";

export type Account = {
  /** Unique, matches accountNamePattern; the prefix of the account's model names. */
  readonly name: string;
  readonly isAdmin: boolean;
  readonly createdAtMs: number;
};

/** An API token without its secret. */
export type ApiToken = {
  readonly id: string;
  readonly account: string;
  readonly name: string;
  /** sha256 (hex) of the secret, for look-up. */
  readonly hash: string;
  /** Last five characters of the secret, to recognise it in a list. */
  readonly fragment: string;
  /** Addresses and CIDR ranges it may be used from; null for all. */
  readonly allowedIps: readonly string[] | null;
  /** Beside its account's limits; null and 0: no further one. */
  readonly rates: Rates;
  readonly createdAtMs: number;
};

/** What may be used of each model. 0 is no limit. */
export type Rates = {
  /** Requests at once, waiting ones among them. */
  readonly concurrentRequests: number | null;
  readonly requestsPerMinute: number | null;
  /** Prompt and generated tokens. */
  readonly tokensPerMinute: number | null;
};

export const noRates: Rates = { concurrentRequests: null, requestsPerMinute: null, tokensPerMinute: null };

/** What an account may use. Null, or a GPU type that is absent: the installation's default. */
export type AccountLimits = Rates & {
  /** Most GPUs of a type that its deployments may ask for together. */
  readonly gpus: Readonly<Partial<Record<GpuType, number>>>;
};

/** What an account's owner says of itself; Berth only gives it back. */
export type Profile = {
  readonly name?: string;
  readonly firstName?: string;
  readonly lastName?: string;
  readonly country?: string;
  readonly email?: string;
  readonly isBusiness?: boolean;
  readonly company?: string;
  readonly website?: string;
  readonly title?: string;
};

/** What is set for an account beside its name. */
export type AccountTerms = {
  /** Its tokens are refused; its deployments stay as they are. */
  readonly isDisabled: boolean;
  readonly limits: AccountLimits;
  readonly profile: Profile;
};

export const defaultTerms: AccountTerms = {
  isDisabled: false,
  limits: { concurrentRequests: null, requestsPerMinute: null, tokensPerMinute: null, gpus: {} },
  profile: {},
};

/** What an account asks its administrators for. Absent parts stay as they are. */
export type WantedLimits = {
  readonly concurrentRequests?: number;
  readonly tokensPerMinute?: number;
  readonly gpus?: Readonly<Partial<Record<GpuType, number>>>;
};

export type LimitRequest = {
  readonly id: string;
  readonly account: string;
  readonly kind: "rate" | "gpu";
  readonly state: "pending" | "granted" | "rejected" | "withdrawn";
  readonly wanted: WantedLimits;
  /** The asker's words. */
  readonly reason: string;
  readonly createdAtMs: number;
  readonly decidedAtMs: number | null;
  /** The administrator's words. */
  readonly answer: string;
};

/** The limits after a request was granted. */
export function grantLimits(limits: AccountLimits, wanted: WantedLimits): AccountLimits {
  const { gpus = {}, ...rates } = wanted;
  return { ...limits, ...rates, gpus: { ...limits.gpus, ...gpus } };
}
