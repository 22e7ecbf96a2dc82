/** `berth history`: arguments that a deployment went by before, for `berth update --restore`. */
import type { Command } from "commander";
import { configHistoryOut } from "../schema/deploy.ts";
import { formatAge, readTimestamp } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { plain, renderTable } from "./terminal.ts";

export function addHistory(program: Command, act: Act): void {
  program
    .command("history")
    .summary("earlier engine arguments of a deployment")
    .description("Lists the engine arguments that a deployment went by before, newest first.")
    .argument("<name>", "full name, bare name or deploy id")
    .action(act(runHistory));
}

async function runHistory(cli: Cli, name: string): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}/config/history`;
  const entries = await cli.client.call("GET", path, configHistoryOut, { signal: cli.signal });
  if (cli.json) return cli.printJson(entries);
  if (entries.length === 0) return cli.note(`${plain(deployment.model_name)} never had other arguments.`);
  const rows = entries.map((entry) => [
    { text: entry.entry_id },
    { text: formatAge(readTimestamp(entry.retired_at), cli.deps.clock.now()) },
    { text: describeArgs(entry.standard_args, entry.extra_args) },
  ]);
  cli.print(renderTable(["ENTRY", "RETIRED", "ARGUMENTS"], rows, cli.palette));
}

/** "max_context_size=8192 --threads 2"; "-" for the engine's own. */
export function describeArgs(knobs: Readonly<Record<string, unknown>>, args: readonly string[]): string {
  const set = Object.entries(knobs).map(([name, value]) => `${name}=${String(value)}`);
  return [...set, ...args].join(" ") || "-";
}
