/** What happened to a deployment and why, appended at every decision (rule: every decision leaves its reason). */

export type DeploymentEvent = {
  readonly deploymentId: string;
  readonly atMs: number;
  /** Stable word for programs, for example "instance_started" or a failure code. */
  readonly code: string;
  /** What happened and why, for a person. Never a secret, a prompt or a signed URL. */
  readonly text: string;
  /** What to do next, "" when nothing is needed. */
  readonly next: string;
  /** The values that led to it. */
  readonly inputs: Readonly<Record<string, string | number | boolean | null>>;
};

/** Progress of a download, as it is now; monotonic within one fetch. */
export type DownloadProgress = {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** Bytes per second over the last seconds, 0 when stalled. */
  readonly bytesPerS: number;
  readonly currentFiles: readonly string[];
};
