/** `GET /deploy/{deploy_id}/events` and `…/why`: what led to a deployment's state, and how far its download is. */
import type { DeploymentEvent, DownloadProgress } from "../core/event.ts";
import { explainState } from "../core/why.ts";
import { deployIdPath } from "../schema/deploy.ts";
import { type DownloadProgressOut, type EventOut, eventsOut, whyOut } from "../schema/events.ts";
import { isoTime } from "./deployment-out.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { findDeployment } from "./visibility.ts";

/** Events in one answer, the newest. */
const maxEvents = 200;

export function eventOperations({ store, progressOf, clock }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/deploy/:deploy_id/events",
      id: "berth_deploy_events",
      summary: "Why a deployment is in its state, and how far its download is.",
      params: deployIdPath,
      answer: eventsOut,
      handle: async ({ caller, path }) => {
        const deployment = await findDeployment(store, caller, path.deploy_id, "see");
        const events = await store.events(deployment.id, maxEvents);
        return {
          events: events.map(toEventOut),
          progress: toProgressOut(progressOf(deployment.id)),
        };
      },
    }),
    operation({
      method: "GET",
      path: "/deploy/:deploy_id/why",
      id: "berth_deploy_why",
      summary: "The facts and decisions that led to a deployment's state, and what would change it.",
      params: deployIdPath,
      answer: whyOut,
      handle: async ({ caller, path }) => {
        const deployment = await findDeployment(store, caller, path.deploy_id, "see");
        const [instances, events] = [
          await store.instances(deployment.id),
          await store.events(deployment.id, maxEvents),
        ];
        const why = explainState({ deployment, instances, events, now: clock.now() });
        return {
          ...{ status: why.status, facts: [...why.facts], chain: why.chain.map(toEventOut) },
          would_change: [...why.wouldChange],
        };
      },
    }),
  ];
}

function toEventOut({ atMs, code, text, next, inputs }: DeploymentEvent): EventOut {
  return { at: isoTime(atMs), code, text, next, inputs };
}

function toProgressOut(progress: DownloadProgress | null): DownloadProgressOut | null {
  if (progress === null) return null;
  const { bytesDone, bytesTotal, bytesPerS, currentFiles } = progress;
  return {
    bytes_done: bytesDone,
    bytes_total: bytesTotal,
    bytes_per_s: bytesPerS,
    eta_s: bytesPerS > 0 ? Math.max(0, (bytesTotal - bytesDone) / bytesPerS) : null,
    files: [...currentFiles],
  };
}
