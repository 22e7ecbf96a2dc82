/**
 * Berth's own operations on the cache of weights: what is in it, fetching ahead, verifying, removing. For administrators:
 * the cache is shared by all accounts, and what is in it says what they deploy.
 */
import { isRevision, parseRepo, repoNameRule, revisionRule } from "../core/repo.ts";
import type { HubCache, HubJob } from "../ports/hub-cache.ts";
import { HttpError } from "../schema/errors.ts";
import {
  type CachedRepoOut,
  cachedRepoListOut,
  collectIn,
  collectOut,
  type HubJobOut,
  hubJobOut,
  hubJobPath,
  hubRepoPath,
  pullIn,
  removeOut,
  verifyIn,
} from "../schema/weights.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function hubOperations({ hub: { cache, jobs, tokenOf } }: ApiDeps): Operation[] {
  const access = "administrator" as const;
  return [
    operation({
      method: "GET",
      path: "/v1/berth/hub",
      id: "berth_hub_list",
      summary: "Repositories in the cache of weights",
      access,
      answer: cachedRepoListOut,
      handle: async () => (await cache.repos()).map(toRepoOut),
    }),
    operation({
      method: "POST",
      path: "/v1/berth/hub/pull",
      id: "berth_hub_pull",
      summary: "Fetches a repository's weights ahead of a deployment",
      access,
      status: 202,
      body: pullIn,
      answer: hubJobOut,
      handle: async ({ body, caller }) => {
        const revision = body.revision ?? null;
        const weights = { repo: acceptRepo(body.repo), revision };
        if (revision !== null && !isRevision(revision)) {
          throw new HttpError("bad_request", `A revision is ${revisionRule}.`, { param: "revision" });
        }
        return toJobOut(started(jobs.pull(weights, body.token ?? tokenOf(caller.account))));
      },
    }),
    operation({
      method: "POST",
      path: "/v1/berth/hub/verify",
      id: "berth_hub_verify",
      summary: "Reads cached weights and compares them with their hashes",
      access,
      status: 202,
      body: verifyIn,
      answer: hubJobOut,
      handle: async ({ body }) => {
        const repo = body.repo == null ? null : plainName(acceptRepo(body.repo));
        return toJobOut(started(jobs.verify(repo, body.repair)));
      },
    }),
    operation({
      method: "POST",
      path: "/v1/berth/hub/gc",
      id: "berth_hub_gc",
      summary: "Removes cached weights that no deployment needs",
      access,
      body: collectIn,
      answer: collectOut,
      handle: async ({ body }) => {
        const { removedBytes, removedFiles, keptBytes } = await cache.collect(body.keep_bytes);
        return { removed_bytes: removedBytes, removed_files: removedFiles, kept_bytes: keptBytes };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/berth/hub/jobs/:id",
      id: "berth_hub_job",
      summary: "How far a pull or a verification is",
      access,
      params: hubJobPath,
      answer: hubJobOut,
      handle: async ({ path }) => toJobOut(known(jobs.job(path.id))),
    }),
    operation({
      method: "DELETE",
      path: "/v1/berth/hub/jobs/:id",
      id: "berth_hub_cancel",
      summary: "Ends a pull or a verification; what was fetched stays",
      access,
      params: hubJobPath,
      answer: hubJobOut,
      handle: async ({ path }) => toJobOut(known(jobs.cancel(path.id))),
    }),
    operation({
      method: "DELETE",
      path: "/v1/berth/hub/repos/:owner/:name",
      id: "berth_hub_remove",
      summary: "Removes a repository from the cache of weights",
      access,
      params: hubRepoPath,
      answer: removeOut,
      handle: async ({ path }) => {
        const repo = plainName(acceptRepo(`${path.owner}/${path.name}`));
        const removed = await cache.remove(repo);
        if (removed.outcome === "absent") throw new HttpError("not_found", `${repo} is not in the cache.`);
        if (removed.outcome === "needed") {
          throw new HttpError(
            "wrong_state",
            `A deployment needs ${repo}. Delete the deployments that use it first.`,
          );
        }
        return { removed_bytes: removed.bytes, kept_bytes: removed.keptBytes };
      },
    }),
  ];
}

function acceptRepo(repo: string): string {
  if (parseRepo(repo) === null) {
    throw new HttpError("bad_request", `A repository is named ${repoNameRule}.`, { param: "repo" });
  }
  return repo;
}

function plainName(repo: string): string {
  return repo.split(":")[0] ?? repo;
}

function started(job: HubJob | "too-many"): HubJob {
  if (job !== "too-many") return job;
  throw new HttpError(
    "queue_full",
    "As many pulls and verifications as may run do. Try again when one has ended.",
    {
      retryAfterS: 10,
    },
  );
}

function known(job: HubJob | null): HubJob {
  if (job !== null) return job;
  throw new HttpError(
    "not_found",
    "There is no such job, or it ended long ago; a restart of Berth ends them all.",
  );
}

function toRepoOut(one: Awaited<ReturnType<HubCache["repos"]>>[number]): CachedRepoOut {
  return {
    repo: one.repo,
    files: one.files,
    bytes: one.bytes,
    own_bytes: one.ownBytes,
    commits: one.commits.map(({ commit, refs }) => ({ commit, refs: [...refs] })),
    used_at: Math.floor(one.usedAtMs / 1000),
    needed: one.isNeeded,
  };
}

function toJobOut(job: HubJob): HubJobOut {
  return {
    ...{ id: job.id, kind: job.kind, repo: job.repo, state: job.state, result: job.result },
    bytes_done: job.bytesDone,
    bytes_total: job.bytesTotal,
    bytes_per_s: job.bytesPerS,
    damaged: job.damaged.map(({ repo, paths, isRemoved }) => ({
      repo,
      paths: [...paths],
      removed: isRemoved,
    })),
  };
}
