/**
 * Why a deployment or an instance did not come up, as a value: a code from one registry, one plain sentence that says
 * what happened to what and why, and one that says what to do next. Owns the codes; `docs/reference/errors.md` is kept
 * equal to them by a test. Must not hold secrets, signed URLs, prompts or paths of the machine.
 */

/** Every failure a deployment can carry. `retryable` ones are tried again with back-off before the deployment fails. */
export const failureCodes = {
  repo_not_found: {
    retryable: false,
    meaning: "The repository does not exist, or the token may not see it.",
  },
  repo_gated: { retryable: false, meaning: "The repository is gated and the token was not granted access." },
  revision_not_found: {
    retryable: false,
    meaning: "The branch, tag or commit does not exist in the repository.",
  },
  no_loadable_weights: {
    retryable: false,
    meaning: "The repository has no weights that an installed engine can load.",
  },
  hub_unreachable: {
    retryable: true,
    meaning: "The Hugging Face endpoint did not answer, or answered with an error.",
  },
  hub_refused: {
    retryable: false,
    meaning: "The address of the endpoint, or one it redirects to, is not allowed.",
  },
  weights_damaged: { retryable: true, meaning: "A file did not match its published hash or length." },
  disk_full: {
    retryable: false,
    meaning: "The disk that holds the weights or the state has too little room.",
  },
  storage_failed: { retryable: true, meaning: "The disk refused a read or a write." },
  hardware_missing: {
    retryable: false,
    meaning: "This installation does not have the GPU that was asked for.",
  },
  gpu_lost: { retryable: true, meaning: "A GPU of a running instance cannot be reached any more." },
  does_not_fit: {
    retryable: false,
    meaning: "The model needs more memory than the GPUs, or the machine, that were asked for have.",
  },
  engine_crashed: { retryable: true, meaning: "The engine ended while loading or serving." },
  engine_timeout: { retryable: true, meaning: "The engine did not become ready within the limit." },
  engine_refused_model: { retryable: false, meaning: "The engine cannot load this model." },
  out_of_memory: { retryable: true, meaning: "The engine ran out of memory while loading." },
  container_failed: {
    retryable: true,
    meaning:
      "The container runtime that the engine's image runs in is not there, gives no answer, or refuses.",
  },
  image_missing: {
    retryable: true,
    meaning: "The engine's container image is not on this machine, or not any more; it is fetched by itself.",
  },
  image_not_found: {
    retryable: false,
    meaning: "The registry has no container image of that name, or does not give it to Berth.",
  },
  image_unreachable: {
    retryable: true,
    meaning: "The registry of the engine's container image did not answer, or not in time.",
  },
  image_unusable: {
    retryable: false,
    meaning: "The container image is for another processor, or the engine's program is not in it.",
  },
  bad_engine_args: {
    retryable: false,
    meaning: "The engine does not accept an argument of standard_args or extra_args.",
  },
  warm_up_failed: {
    retryable: true,
    meaning: "The engine said that it is ready and did not answer its first request.",
  },
  internal: {
    retryable: true,
    meaning: "A defect in Berth; the log of the control process has the details.",
  },
} as const;

export type FailureCode = keyof typeof failureCodes;

export type Failure = {
  readonly code: FailureCode;
  /** What happened, to what, and why: one sentence for a person. */
  readonly message: string;
  /** What the person can do next: one sentence. */
  readonly next: string;
};

/** Builds a failure; both sentences end with a full stop. */
export function failure(code: FailureCode, message: string, next: string): Failure {
  return { code, message, next };
}

/** The text of `fail_reason`: both sentences, or "" where there is no failure. */
export function failReason(cause: Failure | null): string {
  return cause === null ? "" : `${cause.message} ${cause.next}`;
}

/** Carries a failure to whoever records it, from where only throwing is possible. */
export class FailureError extends Error {
  readonly failure: Failure;

  constructor(cause: Failure) {
    super(cause.message);
    this.failure = cause;
  }
}
