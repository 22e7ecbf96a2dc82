/** `berth logs`: the output of a deployment's engines, now or as it comes. */
import type { Command } from "commander";
import { deploymentLogsOut } from "../schema/logs.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { createLogCursor, type LogCursor, type LogLine } from "./log-cursor.ts";
import { duration, wholeNumber } from "./options.ts";
import { plain, printableJson } from "./terminal.ts";

type LogsOptions = { readonly follow?: boolean; readonly since?: number; readonly lines?: number };

/** The API's bound for one answer. */
const maxLines = 1000;
const defaultLines = 100;
const followEveryMs = 1000;

const examples = `
Examples:
  berth logs qwen                  the last ${defaultLines} lines
  berth logs qwen -f               and what comes, until Ctrl-C
  berth logs qwen --since 10m
  berth logs qwen -n 500 --json    one JSON object a line: time, instance, line`;

export function addLogs(program: Command, act: Act): void {
  program
    .command("logs")
    .summary("show the output of a deployment's engines")
    .description("Shows what a deployment's engines wrote: the latest lines, or all since a time.")
    .argument("<name>", "full name, bare name or deploy id")
    .option("-f, --follow", "go on with what comes")
    .option("--since <time>", "all lines of the last 30s, 10m, 2h or 3d", duration)
    .option(
      "-n, --lines <n>",
      `how many of the latest lines (default: ${defaultLines})`,
      wholeNumber(1, maxLines),
    )
    .addHelpText("after", examples)
    .action(act(runLogs));
}

async function runLogs(cli: Cli, name: string, options: LogsOptions): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const cursor = createLogCursor();
  const show = createLinePrinter(cli);
  if (options.since === undefined) {
    const limit = options.lines ?? defaultLines;
    show(cursor.take(await query(cli, deployment.deploy_id, { limit: `${limit}` })));
  } else {
    cursor.startAt(cli.deps.clock.now() / 1000 - options.since);
    const lines = await readOn(cli, deployment.deploy_id, cursor, options.lines ?? null);
    show(lines);
  }
  while (options.follow === true) {
    await cli.deps.clock.sleep(followEveryMs, cli.signal);
    show(await readOn(cli, deployment.deploy_id, cursor, null));
  }
}

/** Everything new, page after page; of a first look back only the last `keep` lines, to bound what is held. */
async function readOn(cli: Cli, id: string, cursor: LogCursor, keep: number | null): Promise<LogLine[]> {
  let found: LogLine[] = [];
  for (;;) {
    const page = await query(cli, id, { from: cursor.from(), limit: `${maxLines}` });
    const lines = cursor.take(page);
    found = [...found, ...lines].slice(-(keep ?? 100 * maxLines));
    const isFull = Object.values(page).reduce((sum, entries) => sum + entries.length, 0) >= maxLines;
    if (!isFull) return found;
    cursor.turnPage();
  }
}

async function query(
  cli: Cli,
  id: string,
  window: Record<string, string>,
): Promise<Record<string, [string, string][]>> {
  const parameters = new URLSearchParams({ deploy_id: id, ...window });
  const path = `/v1/deployment_logs/query?${parameters}`;
  return (await cli.client.call("GET", path, deploymentLogsOut, { signal: cli.signal })).entries;
}

/** Instances are told apart by a short mark as soon as there is more than one. */
function createLinePrinter(cli: Cli): (lines: readonly LogLine[]) => void {
  const instances = new Set<string>();
  return (lines) => {
    for (const line of lines) instances.add(line.instance);
    for (const { instance, time, text } of lines) {
      if (cli.json) {
        cli.print(`${printableJson({ time, instance, line: text }, 0)}\n`);
        continue;
      }
      const mark = instances.size > 1 ? `${plain(instance).slice(-8)}  ` : "";
      cli.print(`${cli.palette.dim(formatTime(time) + mark)}${plain(text)}\n`);
    }
  };
}

/** "1764000000.123456789" -> "2025-11-24 16:00:00.123  ", UTC as all times of Berth. */
function formatTime(time: string): string {
  const date = new Date(Number(time) * 1000);
  return Number.isNaN(date.getTime()) ? "" : `${date.toISOString().slice(0, 23).replace("T", " ")}  `;
}
