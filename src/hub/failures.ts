/**
 * The sentences in which the hub says what went wrong, and the two errors its files throw among themselves: a final
 * answer (HubError) and something worth another try (Hiccup). `hub.ts` turns both into outcomes; nothing else of Berth
 * sees them. Sentences name repositories, files, revisions and hosts, never tokens, signed URLs or paths of the machine.
 */
import type { Failure } from "../core/failure.ts";
import { failure } from "../core/failure.ts";

/** A final answer: trying the same again at once would not help. */
export class HubError extends Error {
  readonly failure: Failure;

  constructor(cause: Failure) {
    super(cause.message);
    this.name = "HubError";
    this.failure = cause;
  }
}

/** The network or the server failed in a way that may pass. The message completes "it …", for example "answered 503". */
export class Hiccup extends Error {
  /** How long the server asked us to wait, null when it did not say. */
  readonly retryAfterMs: number | null;

  constructor(message: string, retryAfterMs: number | null = null) {
    super(message);
    this.name = "Hiccup";
    this.retryAfterMs = retryAfterMs;
  }
}

/** What arrived is not the file that was listed. The message completes "it arrived damaged: …". */
export class WrongFile extends Error {
  constructor(message: string) {
    super(message);
    this.name = "WrongFile";
  }
}

export function badRepoName(rule: string): HubError {
  return new HubError(
    failure(
      "repo_not_found",
      "The repository name is not one that can exist.",
      `Deploy again with a repository of the form ${rule}.`,
    ),
  );
}

export function repoNotFound(repo: string, host: string, hasToken: boolean): HubError {
  return new HubError(
    failure(
      "repo_not_found",
      `${host} has no repository "${repo}", or ${hasToken ? "the token that was given may not see it" : "it is private and no token was given"}.`,
      `Check the spelling; for a private repository deploy again with a token in hf.token that may read it.`,
    ),
  );
}

export function tokenRefused(repo: string, host: string): HubError {
  return new HubError(
    failure(
      "repo_not_found",
      `${host} did not accept the Hugging Face token that was given for "${repo}": it is mistyped, expired or revoked.`,
      "Deploy again with a valid token in hf.token, or with none if the repository is public.",
    ),
  );
}

export function repoGated(repo: string, pageUrl: string, hasToken: boolean): HubError {
  const why = hasToken ? "the account of the token was not granted access" : "no token was given";
  return new HubError(
    failure(
      "repo_gated",
      `The repository "${repo}" is gated and ${why}.`,
      `Accept its terms on ${pageUrl} and deploy again with a token of that account in hf.token.`,
    ),
  );
}

export function revisionNotFound(repo: string, revision: string): HubError {
  return new HubError(
    failure(
      "revision_not_found",
      `The repository "${repo}" has no branch, tag or commit "${revision}".`,
      "Deploy again with a revision that its page lists, or with none for the default branch.",
    ),
  );
}

export function fileGone(repo: string, path: string): HubError {
  return new HubError(
    failure(
      "revision_not_found",
      `The file ${path} of "${repo}" was listed but is not there any more; its history was probably rewritten.`,
      "Deploy again to take the repository as it is now.",
    ),
  );
}

export function fileChanged(repo: string, path: string, host: string): HubError {
  return new HubError(
    failure(
      "revision_not_found",
      `${host} now has another file ${path} of "${repo}" than it listed; its history was probably rewritten.`,
      "Deploy again to take the repository as it is now.",
    ),
  );
}

/** Absent and not allowed look the same: what is on the disk elsewhere is nobody's business. */
export function localNotFound(name: string): HubError {
  return new HubError(
    failure(
      "repo_not_found",
      `There is no model at ${name} that may be deployed.`,
      "Check the path; an administrator allows folders with BERTH_LOCAL_ROOTS.",
    ),
  );
}

export function localChanged(name: string): HubError {
  return new HubError(
    failure(
      "revision_not_found",
      `The files at ${name} are not what they were when they were deployed.`,
      "Deploy again to take them as they are now.",
    ),
  );
}

/** @param hiccup the last thing that happened, completing "<host> …" */
export function unreachable(host: string, hiccup: string, attempts: number): HubError {
  return new HubError(
    failure(
      "hub_unreachable",
      `${host} ${hiccup}${attempts > 1 ? ` (${attempts} tries)` : ""}.`,
      "Check that this machine can reach it and that HF_ENDPOINT is right; then start the deployment again.",
    ),
  );
}

/** @param why completes "which …" */
export function addressRefused(host: string, why: string): HubError {
  return new HubError(
    failure(
      "hub_refused",
      `A download was redirected to ${host}, which ${why}.`,
      "Check HF_ENDPOINT; if that server is yours and has TLS where HF_ENDPOINT has it, BERTH_HUB_PRIVATE=on allows private addresses.",
    ),
  );
}

export function badListing(repo: string, host: string, why: string): HubError {
  return new HubError(
    failure(
      "no_loadable_weights",
      `The file list that ${host} gives for "${repo}" cannot be used: ${why}.`,
      "Deploy another repository, or check that HF_ENDPOINT speaks the Hugging Face protocol.",
    ),
  );
}

export function damaged(repo: string, path: string, how: string): HubError {
  return new HubError(
    failure(
      "weights_damaged",
      `The file ${path} of "${repo}" arrived damaged, also when it was fetched again: ${how}.`,
      "Start the deployment again; if it stays so, the copy at the endpoint is damaged.",
    ),
  );
}

/** All in bytes. */
export type SpaceShortage = {
  /** Still to be written for this repository. */
  readonly needed: number;
  /** Still to be written by other downloads under way. */
  readonly promised: number;
  /** Must stay free beside it. */
  readonly reserve: number;
  readonly free: number;
};

export function diskFull(repo: string, { needed, promised, reserve, free }: SpaceShortage): HubError {
  const others = promised === 0 ? "," : `, ${formatBytes(promised)} of it for downloads that run already,`;
  return new HubError(
    failure(
      "disk_full",
      `The disk that holds the weights has ${formatBytes(free)} free${others} and "${repo}" needs ${formatBytes(needed)} more, with ${formatBytes(reserve)} left over for Berth itself.`,
      "Free some space or move BERTH_HOME to a larger disk, then start the deployment again.",
    ),
  );
}

/** `what` was being written when the room ran out, and `needed` bytes of it were still to come; `free` may be unknown. */
export function ranFull(what: string, needed: number | null, free: number | null): HubError {
  const room = free === null ? "" : ` (${formatBytes(free)} free)`;
  const rest = needed === null ? "" : `, with ${formatBytes(needed)} still to come`;
  return new HubError(
    failure(
      "disk_full",
      `The disk that holds the weights ran full${room} while ${what} was being written${rest}.`,
      "Free some space or move BERTH_HOME to a larger disk, then start the deployment again.",
    ),
  );
}

/** Turns an error of the file system into a final answer about `what`; any other is returned as it is. */
export function storageError(
  error: unknown,
  what: string,
  needed: number | null,
  free: number | null,
): unknown {
  const code = diskErrorCode(error);
  if (code === null) return error;
  if (code === "ENOSPC" || code === "EDQUOT") return ranFull(what, needed, free);
  return new HubError(
    failure(
      "storage_failed",
      `Storing ${what} failed: ${storageReasons[code] ?? `the disk answered ${code}`}.`,
      "Make the hub folder in BERTH_HOME readable and writable for the user Berth runs as, then start the deployment again.",
    ),
  );
}

/** The code of an error that the operating system or a lock file gave, null for any other. */
export function diskErrorCode(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const { code, errno } = error as NodeJS.ErrnoException;
  if (typeof code !== "string") return null;
  return typeof errno === "number" || code === "ERR_SQLITE_ERROR" ? code : null;
}

const storageReasons: Readonly<Record<string, string>> = {
  EACCES: "the folder is not writable (EACCES)",
  EPERM: "the folder is not writable (EPERM)",
  EROFS: "the disk is mounted read-only (EROFS)",
  EIO: "the disk reported an error (EIO)",
  ERR_SQLITE_ERROR: "its lock file cannot be opened",
  EMFILE: "too many files are open (EMFILE)",
};

/** For example "5.3 GB"; decimal units, as disks are sold and as the hub's pages show them. */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
