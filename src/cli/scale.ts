/** `berth scale`: changes how many instances a deployment may have. */
import type { Command } from "commander";
import { deployIdOut } from "../schema/deploy.ts";
import type { ScheduleIn } from "../schema/schedule.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { findDeployment } from "./find.ts";
import { wholeNumber } from "./options.ts";
import { collectRule, scheduleAsked, scheduleHelp, timeZoneHelp } from "./schedule.ts";
import { plain } from "./terminal.ts";

type ScaleOptions = {
  readonly min?: number;
  readonly max?: number;
  readonly inactiveShutdown?: number;
  /** False with --no-schedule. */
  readonly schedule?: ScheduleIn["rules"] | false;
  readonly timeZone?: string;
};

const examples = `
Examples:
  berth scale qwen --min 1 --max 4
  berth scale qwen --min 0 --inactive-shutdown 600    to zero after ten idle minutes
  berth scale qwen --min 0 --max 0                    nothing runs, nothing wakes it
  berth scale qwen --schedule 'mon-fri 08:00-20:00 2' --time-zone Europe/Berlin
  berth scale qwen --no-schedule`;

export function addScale(program: Command, act: Act): void {
  program
    .command("scale")
    .summary("change how many instances a deployment may have")
    .description("Changes how many instances a deployment may have; what is not named stays as it is.")
    .argument("<name>", "full name, bare name or deploy id")
    .option("--min <n>", "fewest instances; 0 goes to zero when idle", wholeNumber(0, 10_000))
    .option("--max <n>", "most instances", wholeNumber(0, 10_000))
    .option("--inactive-shutdown <s>", "idle seconds before going to zero", wholeNumber(0, 31_536_000))
    .option("--schedule <rule>", `${scheduleHelp}; replaces the whole schedule`, collectRule)
    .option("--no-schedule", "takes the schedule away")
    .option("--time-zone <name>", timeZoneHelp)
    .addHelpText("after", examples)
    .action(act(runScale));
}

async function runScale(cli: Cli, name: string, options: ScaleOptions): Promise<void> {
  const schedule = scheduleAsked(options);
  const settings = {
    ...(options.min === undefined ? {} : { min_instances: options.min }),
    ...(options.max === undefined ? {} : { max_instances: options.max }),
    ...(options.inactiveShutdown === undefined ? {} : { inactive_shutdown: options.inactiveShutdown }),
    ...(schedule === undefined ? {} : { schedule }),
  };
  if (Object.keys(settings).length === 0) {
    throw new CliError(
      exitCodes.usage,
      "Nothing to change: give --min, --max, --inactive-shutdown or --schedule.",
    );
  }
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}`;
  const answer = await cli.client.call("PUT", path, deployIdOut, { body: { settings }, signal: cli.signal });
  if (cli.json) cli.printJson(answer);
  else cli.print(`${plain(deployment.model_name)} has its new bounds.\n`);
}
