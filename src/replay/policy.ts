/**
 * What a scaling policy is to the replay: it is shown what can be seen from outside, at its own pace, and says how many
 * instances it wants. The policies are in `policies/`, one a file. Types alone.
 */

/** What there is to see of a deployment. */
export type View = {
  readonly nowMs: number;
  /** Requests that wait in front of the instances. */
  readonly queued: number;
  /** Requests at instances. */
  readonly running: number;
  /** Of those at instances, the ones whose prompts have not begun: engines report them as waiting. */
  readonly unstarted: number;
  /** Waiting and running requests, summed over time: request-milliseconds since the beginning. */
  readonly workMs: number;
  /** Requests that have come in since the beginning. */
  readonly arrived: number;
  readonly lastArrivalMs: number | null;
  /** Instances that take requests. */
  readonly ready: number;
  /** Instances that take requests or are loading. */
  readonly live: number;
};

/** What a policy is set up with: the deployment's part. */
export type Scaled = {
  readonly minInstances: number;
  readonly maxInstances: number;
  /** Requests an instance serves at once. */
  readonly slots: number;
  readonly loadMs: number;
};

export type Policy = {
  /** How often it looks. */
  readonly everyMs: number;
  /**
   * When it looks besides: as soon as a request has to wait; as soon as one comes while there is no instance; or never.
   */
  readonly looksAtOnce: "waiting" | "asleep" | "never";
  /** @returns how many instances it wants; more or fewer than the settings allow counts as the most or least */
  decide(view: View): number;
};

/** A policy that may be chosen, with what may be tuned. */
export type PolicyKind = {
  readonly name: string;
  /** Its settings with their defaults, named as their own documentation names them. */
  readonly defaults: Readonly<Record<string, number>>;
  create(settings: Readonly<Record<string, number>>, scaled: Scaled): Policy;
};
