/**
 * Pulls and verifications that a person asked for: each goes on in the background, bounded in number, and is remembered
 * for a while after its end. Nothing here is on disk: after a restart one asks again, and goes on where it was.
 */
import type { Weights } from "../core/deployment.ts";
import { quantizationOf } from "../core/repo.ts";
import type { ChooseFiles, Hub } from "../ports/hub.ts";
import type { Damage, HubCache, HubJob, HubJobs } from "../ports/hub-cache.ts";
import { formatBytes } from "./failures.ts";

const maxRunning = 8;
const maxRemembered = 100;

export type JobsOptions = {
  readonly hub: Hub;
  readonly cache: HubCache;
  readonly chooseFiles: ChooseFiles;
  newId(): string;
  log(level: "error", message: string, fields?: Record<string, unknown>): void;
};

type End = {
  readonly state: "done" | "failed";
  readonly result: string;
  readonly damaged?: readonly Damage[];
};
type Report = (bytesDone: number, bytesTotal: number, bytesPerS: number) => void;

/** With the function that ends everything and resolves when nothing runs any more. */
export function createHubJobs(options: JobsOptions): HubJobs & { close(): Promise<void> } {
  const jobs = new Map<string, HubJob>();
  const running = new Map<string, { abort: AbortController; ended: Promise<void> }>();

  function start(
    kind: HubJob["kind"],
    repo: string | null,
    work: (report: Report, signal: AbortSignal) => Promise<End>,
  ): HubJob | "too-many" {
    if (running.size >= maxRunning) return "too-many";
    const id = options.newId();
    const abort = new AbortController();
    const change = (more: Partial<HubJob>) => {
      const now = jobs.get(id);
      if (now !== undefined) jobs.set(id, { ...now, ...more });
    };
    const job: HubJob = {
      ...{ id, kind, repo, state: "running", result: "", damaged: [] },
      ...{ bytesDone: 0, bytesTotal: 0, bytesPerS: 0 },
    };
    jobs.set(id, job);
    forgetOldest();
    const report: Report = (bytesDone, bytesTotal, bytesPerS) => change({ bytesDone, bytesTotal, bytesPerS });
    const ended = work(report, abort.signal)
      .then(
        (end) => change(end),
        (error: unknown) => {
          if (abort.signal.aborted) return change({ state: "cancelled", result: "It was cancelled." });
          options.log("error", `a ${kind} failed unexpectedly`, { error: String(error) });
          change({
            state: "failed",
            result: "It failed by a defect in Berth; see the log of the control process.",
          });
        },
      )
      .finally(() => running.delete(id));
    running.set(id, { abort, ended });
    return job;
  }

  function forgetOldest(): void {
    for (const id of jobs.keys()) {
      if (jobs.size <= maxRemembered) return;
      if (!running.has(id)) jobs.delete(id);
    }
  }

  async function pull(
    weights: Weights,
    token: string | null,
    report: Report,
    signal: AbortSignal,
  ): Promise<End> {
    const { hub } = options;
    const listed = await hub.list(weights, token, signal);
    if (!listed.ok) return failed(listed.failure);
    const chosen = options.chooseFiles(listed.value, quantizationOf(weights.repo));
    if (!chosen.ok) return failed(chosen.failure);
    const { repo, commit } = listed.value;
    const { files } = chosen.value;
    const fetched = await hub.fetch(
      ...([repo, commit, files, token] as const),
      (now) => report(now.bytesDone, now.bytesTotal, now.bytesPerS),
      signal,
    );
    if (!fetched.ok) return failed(fetched.failure);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const what = files.length === 1 ? "The file" : `All ${files.length} files`;
    return {
      state: "done",
      result: `${what} of ${repo} at commit ${commit} ${files.length === 1 ? "is" : "are"} here and verified (${formatBytes(bytes)}).`,
    };
  }

  async function verify(
    repo: string | null,
    repair: boolean,
    report: Report,
    signal: AbortSignal,
  ): Promise<End> {
    const onBytes = (done: number, total: number) => report(done, total, 0);
    const { files, bytes, damaged } = await options.cache.verify(repo, repair, onBytes, signal);
    const all = `${files === 1 ? "1 file" : `${files} files`} (${formatBytes(bytes)})`;
    if (damaged.length === 0) {
      return { state: "done", result: `${all} ${files === 1 ? "is" : "are"} as the hashes say.` };
    }
    const names = damaged.slice(0, 5).map((one) => `${one.paths[0] ?? ""} of ${one.repo}`);
    const more = damaged.length > names.length ? ` and ${damaged.length - names.length} more` : "";
    const next = repair
      ? "They are removed; start the deployments that use them again, or pull the repository, and they are fetched anew."
      : "Verify again with repair to remove them, so that they are fetched anew.";
    return {
      state: "failed",
      damaged,
      result: `Of ${all}, ${damaged.length} ${damaged.length === 1 ? "is" : "are"} damaged: ${names.join(", ")}${more}. ${next}`,
    };
  }

  return {
    pull: (weights, token) =>
      start("pull", weights.repo, (report, signal) => pull(weights, token, report, signal)),
    verify: (repo, repair) => start("verify", repo, (report, signal) => verify(repo, repair, report, signal)),
    job: (id) => jobs.get(id) ?? null,
    cancel(id) {
      running.get(id)?.abort.abort(new Error("cancelled"));
      return jobs.get(id) ?? null;
    },
    async close() {
      for (const { abort } of running.values()) abort.abort(new Error("control is stopping"));
      await Promise.all([...running.values()].map(({ ended }) => ended));
    },
  };
}

function failed({ message, next }: { readonly message: string; readonly next: string }): End {
  return { state: "failed", result: `${message} ${next}` };
}
