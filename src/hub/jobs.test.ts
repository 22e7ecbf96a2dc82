import { expect, it, vi } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { Hub } from "../ports/hub.ts";
import type { Damage, HubCache, HubJob } from "../ports/hub-cache.ts";
import { createHubJobs } from "./jobs.ts";

type Verify = HubCache["verify"];
const sound = { files: 2, bytes: 2_000_000, damaged: [] };
const failure = {
  code: "repo_not_found",
  message: "acme/tiny is not there.",
  next: "Check the name.",
} as const;
const file = { path: "model.gguf", bytes: 10, sha256: "0".repeat(64), gitOid: null };
const listing = { repo: "acme/tiny", commit: "1".repeat(40), files: [file] };

function open({ verify = async () => sound, hub = {} }: { verify?: Verify; hub?: Partial<Hub> } = {}) {
  const log = vi.fn();
  let count = 0;
  const jobs = createHubJobs({
    hub: hub as Hub,
    cache: { verify } as HubCache,
    chooseFiles: ({ files }) => ({ ok: true, value: { files, entryFile: file.path } }),
    newId() {
      count += 1;
      return `job-${count}`;
    },
    log,
  });
  return { jobs, log };
}

/** A verification that goes on until it is cancelled. */
const endless: Verify = (_repo, _repair, _onBytes, signal) =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

function started(job: HubJob | "too-many"): HubJob {
  if (job === "too-many") throw new Error("it was not started");
  return job;
}

async function ended(
  jobs: ReturnType<typeof open>["jobs"],
  job: HubJob | "too-many",
): Promise<HubJob | null> {
  const { id } = started(job);
  await eventually(() => expect(jobs.job(id)?.state).not.toBe("running"));
  return jobs.job(id);
}

it("a pull tells how far it is, and what is here in the end", async () => {
  const fetch: Hub["fetch"] = async (_repo, _commit, _files, _token, onProgress) => {
    onProgress({ bytesDone: 4, bytesTotal: 10, bytesPerS: 2, currentFiles: [] });
    return { ok: true, value: null };
  };
  const { jobs } = open({ hub: { list: async () => ({ ok: true, value: listing }), fetch } });
  const end = await ended(jobs, jobs.pull({ repo: "acme/tiny", revision: null }, null));
  expect(end).toMatchObject({ kind: "pull", state: "done", bytesDone: 4, bytesTotal: 10, bytesPerS: 2 });
  expect(end?.result).toContain(`The file of acme/tiny at commit ${listing.commit} is here`);
});

it("a pull passes the token to the hub, and the reason of a refusal to the person", async () => {
  const list = vi.fn<Hub["list"]>(async () => ({ ok: false, failure }));
  const { jobs } = open({ hub: { list } });
  const end = await ended(jobs, jobs.pull({ repo: "acme/tiny", revision: null }, "hf_secret"));
  expect(end).toMatchObject({ state: "failed", result: `${failure.message} ${failure.next}` });
  expect(list.mock.calls[0]?.[1]).toBe("hf_secret");
  expect(JSON.stringify(end)).not.toContain("hf_secret");
});

it("a verification names at most five damaged files, counts the rest, and says what to do next", async () => {
  const damaged: Damage[] = Array.from({ length: 7 }, (_none, at) => ({
    repo: "acme/tiny",
    paths: [`part-${at}`],
    isRemoved: false,
  }));
  const { jobs } = open({ verify: async () => ({ files: 9, bytes: 9, damaged }) });
  const look = await ended(jobs, jobs.verify(null, false));
  expect(look).toMatchObject({ state: "failed", damaged });
  expect(look?.result).toMatch(/7 are damaged: part-0 of acme\/tiny.*and 2 more\. Verify again with repair/);
  const repair = await ended(jobs, jobs.verify(null, true));
  expect(repair?.result).toContain("They are removed");
});

it("what is cancelled is said to be so, and cancelling again changes nothing", async () => {
  const { jobs } = open({ verify: endless });
  const job = started(jobs.verify("acme/tiny", false));
  jobs.cancel(job.id);
  const end = await ended(jobs, job);
  expect(end).toMatchObject({ state: "cancelled" });
  expect(jobs.cancel(job.id)).toEqual(end);
  expect(jobs.cancel("unknown")).toBeNull();
});

it("a defect is logged, and the person learns where to look without its text", async () => {
  const { jobs, log } = open({ verify: async () => Promise.reject(new Error("inner text")) });
  const end = await ended(jobs, jobs.verify(null, false));
  expect(end?.state).toBe("failed");
  expect(end?.result).not.toContain("inner text");
  expect(log).toHaveBeenCalledOnce();
});

it("at most eight run at once, and closing ends them all", async () => {
  const { jobs } = open({ verify: endless });
  const running = Array.from({ length: 8 }, () => started(jobs.verify(null, false)));
  expect(jobs.verify(null, false)).toBe("too-many");
  await jobs.close();
  expect(running.map(({ id }) => jobs.job(id)?.state)).toEqual(running.map(() => "cancelled"));
  expect(jobs.verify(null, false)).not.toBe("too-many");
  await jobs.close();
});

it("a hundred are remembered, the oldest of those that have ended forgotten first", async () => {
  let isEndless = true;
  const { jobs } = open({ verify: (...all) => (isEndless ? endless(...all) : Promise.resolve(sound)) });
  const first = started(jobs.verify(null, false));
  isEndless = false;
  const second = started(jobs.verify(null, false));
  await ended(jobs, second);
  for (let count = 0; count < 99; count += 1) await ended(jobs, jobs.verify(null, false));
  expect(jobs.job(first.id)?.state).toBe("running");
  expect(jobs.job(second.id)).toBeNull();
  await jobs.close();
});
