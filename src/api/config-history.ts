/** Arguments that a deployment went by before: shown, and restored by a rolling update. */
import { configHistoryOut, deployIdOut, deployIdPath, historyEntryPath } from "../schema/deploy.ts";
import { restoreArgs } from "./changes.ts";
import { isoTime } from "./deployment-out.ts";
import { changeDeployment } from "./deployments.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { toStandardArgsOut } from "./standard-args.ts";
import { findDeployment } from "./visibility.ts";

export function historyOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/deploy/:deploy_id/config/history",
      id: "deploy_config_history_deploy__deploy_id__config_history_get",
      summary: "Arguments that the deployment went by before, newest first",
      params: deployIdPath,
      answer: configHistoryOut,
      handle: async ({ caller, path }) => {
        const { revisions } = await findDeployment(deps.store, caller, path.deploy_id, "see");
        return revisions.retired.map(({ id, retiredAtMs, args }) => ({
          entry_id: String(id),
          retired_at: isoTime(retiredAtMs),
          standard_args: toStandardArgsOut(args.standardArgs),
          extra_args: [...args.extraArgs],
        }));
      },
    }),
    operation({
      method: "POST",
      path: "/deploy/:deploy_id/config/history/:entry_id/restore",
      id: "deploy_config_restore_deploy__deploy_id__config_history__entry_id__restore_post",
      summary: "Goes back to earlier arguments, by a rolling update",
      params: historyEntryPath,
      answer: deployIdOut,
      handle: async ({ caller, path }) => {
        const restore = restoreArgs(path.entry_id, deps.clock.now());
        return await changeDeployment(deps, caller, path.deploy_id, "restore_asked", restore);
      },
    }),
  ];
}
