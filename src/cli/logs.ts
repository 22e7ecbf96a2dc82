/** `berth logs`: the output of a deployment's engines, now or as it comes. */
import type { Command } from "commander";
import { deploymentLogsOut } from "../schema/logs.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { createLogCursor, type LogCursor, type LogLine } from "./log-cursor.ts";
import { duration, wholeNumber } from "./options.ts";
import { askPatiently } from "./patience.ts";
import { plain, printableJson } from "./terminal.ts";

type LogsOptions = { readonly follow?: boolean; readonly since?: number; readonly lines?: number };

/** The API's bound for one answer. */
const maxLines = 1000;
const defaultLines = 100;
/** Bounds what is held in memory before it is shown. */
const maxHeldLines = 100_000;
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
  const id = deployment.deploy_id;
  const cursor = createLogCursor();
  const show = createLinePrinter(cli);
  let lines: LogLine[];
  if (options.since === undefined) {
    lines = cursor.take(await query(cli, id, { limit: `${options.lines ?? defaultLines}` }));
  } else {
    cursor.startAt(cli.deps.clock.now() / 1000 - options.since);
    lines = await readOn(cli, id, cursor, options.lines ?? maxHeldLines);
  }
  show(lines);
  if (lines.length === 0) cli.note(`${deployment.model_name} has written nothing in that time.`);
  const away = () => cli.note("Berth does not answer; trying again.");
  while (options.follow === true) {
    await cli.deps.clock.sleep(followEveryMs, cli.signal);
    show(await askPatiently(cli, () => readOn(cli, id, cursor, maxHeldLines), away));
  }
}

/** Everything new, page after page; of that the last `keep` lines. */
async function readOn(cli: Cli, id: string, cursor: LogCursor, keep: number): Promise<LogLine[]> {
  let found: LogLine[] = [];
  for (;;) {
    const page = await query(cli, id, { from: cursor.from(), limit: `${maxLines}` });
    const lines = cursor.take(page);
    found = [...found, ...lines].slice(-keep);
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
