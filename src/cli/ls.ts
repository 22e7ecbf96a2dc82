/** `berth ls`: the deployments this token may see, one line each. */
import type { Command } from "commander";
import { type DeploymentOut, deploymentListOut } from "../schema/deploy.ts";
import { formatAge, readTimestamp } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { type Cell, paintStatus, renderTable } from "./terminal.ts";

type LsOptions = { readonly status?: string; readonly allAccounts?: boolean };

const examples = `
Examples:
  berth ls
  berth ls --status running,deploying
  berth ls --status deleted
  berth ls --json | jq -r '.[].model_name'`;

export function addLs(program: Command, act: Act): void {
  program
    .command("ls")
    .alias("list")
    .summary("list deployments")
    .description("Lists deployments, deleted ones only when asked for.")
    .option("--status <list>", "only these statuses, separated by commas")
    .option("--all-accounts", "deployments of every account (administrators)")
    .addHelpText("after", examples)
    .action(act(runLs));
}

async function runLs(cli: Cli, options: LsOptions): Promise<void> {
  const query = new URLSearchParams();
  if (options.status !== undefined) query.set("status", options.status);
  if (options.allAccounts === true) query.set("account", "all");
  const path = query.size === 0 ? "/deploy/list" : `/deploy/list?${query}`;
  const list = await cli.client.call("GET", path, deploymentListOut, { signal: cli.signal });
  if (cli.json) {
    cli.printJson(list);
  } else if (list.length === 0) {
    cli.note(
      options.status === undefined
        ? `No deployments yet. \`${cli.command} deploy owner/name\` makes one.`
        : `No deployments with status ${options.status}.`,
    );
  } else {
    const head = ["NAME", "STATUS", "INSTANCES", "GPU", "ID", "AGE"];
    const rows = list.map((one) => describeRow(cli, one));
    cli.print(renderTable(head, rows, cli.palette));
  }
}

function describeRow(cli: Cli, one: DeploymentOut): Cell[] {
  return [
    { text: one.model_name, paint: cli.palette.bold },
    { text: one.status, paint: paintStatus(cli.palette, one.status) },
    { text: describeInstances(one) },
    { text: describeGpu(one) },
    { text: one.deploy_id },
    { text: formatAge(readTimestamp(one.created_at), cli.deps.clock.now()) },
  ];
}

/** "1 of 0-4": running now, and the bounds. "0+1 of 1" while one is starting. */
export function describeInstances(one: DeploymentOut): string {
  const { running, pending } = one.instances;
  const now = pending > 0 ? `${running}+${pending}` : `${running}`;
  const { min_instances: min, max_instances: max } = one.settings;
  return `${now} of ${min === max ? max : `${min}-${max}`}`;
}

/** "2x H100-80GB", "other". */
export function describeGpu(one: DeploymentOut): string {
  return one.config.num_gpus === 1 ? one.config.gpu : `${one.config.num_gpus}x ${one.config.gpu}`;
}
