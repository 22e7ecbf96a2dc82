/** Berth's own operations about the installation as a whole, for administrators. */
import { berthDownOut, berthInfoOut } from "../schema/account.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function installationOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/berth/info",
      id: "berth_info",
      summary: "Version of this Berth",
      access: "administrator",
      answer: berthInfoOut,
      handle: async ({ caller }) => ({ version: deps.version, account: caller.account }),
    }),
    operation({
      method: "POST",
      path: "/v1/berth/down",
      id: "berth_down",
      summary: "Stop Berth and every engine",
      access: "administrator",
      status: 202,
      answer: berthDownOut,
      handle: async () => ({ status: "stopping" as const }),
      afterwards: deps.down,
    }),
  ];
}
