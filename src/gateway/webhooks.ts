/**
 * Requests whose answer is posted to a URL: who asked is told at once that it is queued, and the work goes on without
 * them. Owns how many are under way, that they end with the gateway, and the tries of each post; must not decide where
 * may be posted (core/webhook) nor serve (inference).
 */
import { pauseBeforeRetry, refuseTarget, type WebhookTargets } from "../core/webhook.ts";
import { HttpError } from "../schema/errors.ts";
import { CollectedReply } from "./collected-reply.ts";
import type { Delivery, ReplyAbout } from "./faces/face.ts";
import type { Clock, Log } from "./options.ts";
import { type DetachedVisit, detachVisit, type Visit } from "./visit.ts";
import { post, signBody } from "./webhook-post.ts";

/** Requests whose answers are to be posted, at once. */
const maxJobs = 256;

export type WebhookDeps = {
  readonly targets: WebhookTargets;
  readonly clock: Clock;
  readonly log: Log;
  /** Hears of each job's visit as it begins, so that the gateway's end can wait for it and cut it. */
  onOpen(job: Visit): void;
  onEnd(job: Visit): void;
};

export type Webhooks = {
  /** Throws HttpError when nothing may be posted to this URL, or when too much is under way. */
  admit(url: string): URL;
  /**
   * Goes on with a request without its client, in the background, bounded as `admit` says.
   */
  start(asked: Visit, job: WebhookJob): void;
};

export type WebhookJob = {
  readonly url: URL;
  readonly delivery: Delivery;
  /** Of the token that asked; it signs. */
  readonly tokenHash: string;
  /** Asks the engine, with the job's own visit and replies. */
  serve(visit: Visit, openReply: (about: ReplyAbout) => CollectedReply): Promise<void>;
};

export function createWebhooks(deps: WebhookDeps): Webhooks {
  let jobs = 0;

  async function work(visit: DetachedVisit, job: WebhookJob): Promise<void> {
    let latest: CollectedReply | null = null;
    await job.serve(visit, (about) => {
      latest = new CollectedReply(job.delivery, about);
      return latest;
    });
    const result = (latest as CollectedReply | null)?.result ?? null;
    if (result !== null) await deliver(visit, job, Buffer.from(JSON.stringify(result)));
  }

  async function deliver({ requestId, signal }: DetachedVisit, job: WebhookJob, body: Buffer): Promise<void> {
    const { url, tokenHash } = job;
    for (let tries = 1; ; tries += 1) {
      const signature = signBody(body, tokenHash, deps.clock.now());
      const outcome = await post({ url, body, signature, requestId }, deps.targets, signal).then(
        (status) => ({ status, why: `it answered ${status}` }),
        (error: Error) => ({ status: null, why: error.message }),
      );
      signal.throwIfAborted();
      if (outcome.status !== null && outcome.status < 300) return;
      const pauseMs = pauseBeforeRetry(tries, outcome.status);
      if (pauseMs === null) {
        // The URL may hold a secret of the client's: its host says enough.
        deps.log("warn", "an answer could not be posted to its webhook", {
          ...{ requestId, host: url.host, tries, why: outcome.why },
        });
        return;
      }
      await deps.clock.sleep(pauseMs, signal);
    }
  }

  /** Never rejects. */
  async function run(asked: Visit, job: WebhookJob): Promise<void> {
    jobs += 1;
    const visit = detachVisit(asked, deps.clock.now());
    deps.onOpen(visit);
    try {
      await work(visit, job);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      deps.log("warn", "a request with a webhook was ended", { requestId: visit.requestId, why });
    } finally {
      jobs -= 1;
      visit.record.durationMs = deps.clock.now() - visit.record.startedAtMs;
      deps.onEnd(visit);
    }
  }

  return {
    admit(text) {
      const url = URL.canParse(text) ? new URL(text) : null;
      const why = url === null ? "is not a URL" : refuseTarget(url, deps.targets);
      if (url === null || why !== null) {
        const sentence = `The webhook ${why}. An administrator allows hosts with BERTH_WEBHOOK_TARGETS.`;
        throw new HttpError("bad_request", sentence, { param: "webhook" });
      }
      if (jobs < maxJobs) return url;
      throw new HttpError(
        "queue_full",
        "Too many answers are to be posted to webhooks already. Try again later.",
        {
          retryAfterS: 10,
        },
      );
    },
    start: (asked, job) => void run(asked, job),
  };
}
