/** `GET /deploy/{deploy_id}/events`: why a deployment is in its state, and how far its download is. */
import type { DownloadProgress } from "../core/event.ts";
import { deployIdPath } from "../schema/deploy.ts";
import { type DownloadProgressOut, eventsOut } from "../schema/events.ts";
import { isoTime } from "./deployment-out.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { findDeployment } from "./visibility.ts";

/** Events in one answer, the newest. */
const maxEvents = 200;

export function eventOperations({ store, progressOf }: ApiDeps): Operation[] {
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
          events: events.map(({ atMs, code, text, next, inputs }) => ({
            at: isoTime(atMs),
            code,
            text,
            next,
            inputs,
          })),
          progress: toProgressOut(progressOf(deployment.id)),
        };
      },
    }),
  ];
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
