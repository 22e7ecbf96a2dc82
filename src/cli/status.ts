/** `berth status`: one deployment in full, and why it is as it is: its latest events and the next step. */
import type { Command } from "commander";
import type { DeploymentOut } from "../schema/deploy.ts";
import { type EventsOut, eventsOut } from "../schema/events.ts";
import { formatAge, formatBytes, formatDuration, readTimestamp } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { describeGpu } from "./ls.ts";
import { wholeNumber } from "./options.ts";
import { describeRules } from "./schedule.ts";
import { paintStatus, plain, renderFacts } from "./terminal.ts";

type StatusOptions = { readonly events: number };

const examples = `
Examples:
  berth status starter
  berth status me/model --events 50
  berth status fkj843kjh8abcd12 --json`;

export function addStatus(program: Command, act: Act): void {
  program
    .command("status")
    .summary("show one deployment, and why it is as it is")
    .description("Shows one deployment: its settings, its latest events and what to do next.")
    .argument("<name>", "full name, bare name or deploy id")
    .option("--events <n>", "how many of the latest events to show", wholeNumber(0, 1000), 8)
    .addHelpText("after", examples)
    .action(act(runStatus));
}

async function runStatus(cli: Cli, name: string, options: StatusOptions): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}/events`;
  const happened = await cli.client.call("GET", path, eventsOut, { signal: cli.signal });
  const shown = options.events === 0 ? [] : happened.events.slice(-options.events);
  if (cli.json) {
    cli.printJson({ deployment, events: shown, progress: happened.progress });
  } else {
    cli.print(
      describeDeployment(cli, deployment, happened.progress) + describeEvents(cli, deployment, shown),
    );
  }
}

function describeDeployment(cli: Cli, one: DeploymentOut, progress: EventsOut["progress"]): string {
  const { palette } = cli;
  const { config, instances } = one;
  const nowMs = cli.deps.clock.now();
  const facts: [string, string][] = [
    ["id", one.deploy_id],
    ["weights", describeWeights(config.weights.repo, one.version)],
    ["gpu", describeGpu(one)],
    ["requests at once", `${config.max_batch_size} an instance`],
    ["instances", `${instances.running} running, ${instances.pending} starting`],
    ["scale", describeScale(one.settings)],
  ];
  if (config.base_model !== null) facts.splice(1, 0, ["base model", config.base_model]);
  if (one.extra_args.length > 0) facts.push(["engine arguments", one.extra_args.join(" ")]);
  if (progress !== null && one.status === "downloading") facts.push(["download", describeDownload(progress)]);
  if (one.task !== "") facts.push(["task", one.task]);
  facts.push(
    ["created", describeTime(one.created_at, nowMs)],
    ["changed", describeTime(one.updated_at, nowMs)],
  );
  const status = paintStatus(palette, one.status)(plain(one.status));
  const reason = one.fail_reason === "" ? "" : `${palette.red(plain(one.fail_reason))}\n`;
  return `${palette.bold(plain(one.model_name))}  ${status}\n${reason}${renderFacts(facts, palette)}`;
}

function describeWeights(repo: string, commit: string): string {
  return commit === "" ? repo : `${repo} at ${commit.slice(0, 12)}`;
}

function describeScale(settings: DeploymentOut["settings"]): string {
  const { min_instances: min, max_instances: max, inactive_shutdown: idleS, schedule } = settings;
  const range = min === max ? `always ${max}` : `${min} to ${max}`;
  const idle =
    min === 0 && idleS !== null ? `, to zero after ${formatDuration(idleS).replace(".0", "")} idle` : "";
  return `${range}${idle}${schedule === undefined ? "" : `; ${describeRules(schedule)}`}`;
}

function describeDownload(progress: NonNullable<EventsOut["progress"]>): string {
  const done = `${formatBytes(progress.bytes_done)} of ${formatBytes(progress.bytes_total)}`;
  return `${done}, ${formatBytes(progress.bytes_per_s)}/s`;
}

function describeTime(text: string, nowMs: number): string {
  return `${text.slice(0, 19).replace("T", " ")} UTC (${formatAge(readTimestamp(text), nowMs)} ago)`;
}

function describeEvents(cli: Cli, one: DeploymentOut, events: EventsOut["events"]): string {
  const { palette } = cli;
  if (events.length === 0) return "";
  const nowMs = cli.deps.clock.now();
  const ages = events.map((event) => `${formatAge(readTimestamp(event.at), nowMs)} ago`);
  const width = Math.max(...ages.map((age) => age.length));
  const lines = events.map(
    (event, index) => `  ${palette.dim((ages[index] ?? "").padStart(width))}  ${plain(event.text)}\n`,
  );
  // The advice of an older event is out of date; that of the last one counts, and `fail_reason` has its own.
  const next = one.status === "failed" ? "" : plain(events.at(-1)?.next ?? "");
  return `\n${palette.dim("Latest events")}\n${lines.join("")}${next === "" ? "" : `\nNext: ${next}\n`}`;
}
