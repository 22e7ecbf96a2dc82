/** What deepctl asks of a server beside the API: whether it is too old, and a sign-in with GitHub, which Berth has not. */
import { z } from "zod";
import { cliLoginQuery, cliVersionOut, cliVersionQuery } from "../schema/deepctl.ts";
import { HttpError } from "../schema/errors.ts";
import { type Operation, publicOperation } from "./operation.ts";

export function deepctlOperations(): Operation[] {
  return [
    publicOperation({
      method: "GET",
      path: "/cli/version",
      id: "cli_version_cli_version_get",
      summary: "Whether a version of deepctl may go on: every one may",
      query: cliVersionQuery,
      answer: cliVersionOut,
      // The newest is the one that asks: Berth knows of no other and never asks for an update.
      handle: async ({ query }) => ({ min: "0.0.0", update: "0.0.0", latest: query.version }),
    }),
    publicOperation({
      method: "GET",
      path: "/github/cli/login",
      id: "github_cli_login_github_cli_login_get",
      summary: "Not here: Berth has no sign-in",
      query: cliLoginQuery,
      answer: z.object({}),
      handle: async () => {
        throw new HttpError(
          "not_implemented",
          "Berth has no sign-in with GitHub. Ask an administrator for an API token, then run `deepctl auth set-token`.",
        );
      },
    }),
  ];
}
