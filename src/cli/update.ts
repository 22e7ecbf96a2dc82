/** `berth update`: gives a deployment other arguments by a rolling update and follows it; also back to earlier ones. */
import type { Command } from "commander";
import { deployIdOut, deploymentOut } from "../schema/deploy.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { findDeployment } from "./find.ts";
import { followDeployment } from "./follow.ts";
import { collectKnob, type Knobs } from "./knobs.ts";
import { collect } from "./options.ts";
import { plain } from "./terminal.ts";

type UpdateOptions = {
  readonly set?: Knobs;
  /** False with --no-args. */
  readonly args: boolean;
  readonly arg?: readonly string[];
  readonly restore?: string;
  readonly wait: boolean;
};

const examples = `
Examples:
  berth update qwen --set max_context_size=8192       other knobs; those that are not named stay
  berth update qwen --set max_context_size=           the engine's own choice again
  berth update qwen --arg=--threads=2                 other engine arguments, instead of those it has
  berth update qwen --no-args                         none of its own
  berth update qwen --restore 3                       back to an entry of \`berth history qwen\`

The old instances serve until the new ones have answered. What does not start is taken back by itself.`;

export function addUpdate(program: Command, act: Act): void {
  program
    .command("update")
    .summary("change the engine's arguments by a rolling update")
    .description(
      "Gives a deployment other engine arguments, one instance at a time, without losing a request.",
    )
    .argument("<name>", "full name, bare name or deploy id")
    .option("--set <knob>", "a typed knob as name=value, repeatable; name= takes it back", collectKnob)
    .option("--arg <argument>", "extra engine argument, repeatable, as --arg=--name=value", collect)
    .option("--no-args", "no extra engine arguments any more")
    .option("--restore <entry>", "arguments of an earlier time, by their id in the history")
    .option("--no-wait", "return as soon as the update is accepted")
    .addHelpText("after", examples)
    .action(act(runUpdate));
}

async function runUpdate(cli: Cli, name: string, options: UpdateOptions): Promise<void> {
  const { set, arg, restore } = options;
  const hasArgs = set !== undefined || arg !== undefined || !options.args;
  if (hasArgs === (restore !== undefined)) {
    throw new CliError(exitCodes.usage, "Give --set, --arg or --no-args, or else --restore.");
  }
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}`;
  const { signal } = cli;
  if (restore !== undefined) {
    const entry = encodeURIComponent(restore);
    await cli.client.call("POST", `${path}/config/history/${entry}/restore`, deployIdOut, { signal });
  } else {
    const body = {
      ...(set === undefined ? {} : { standard_args: { ...deployment.standard_args, ...set } }),
      ...(arg !== undefined ? { extra_args: [...arg] } : options.args ? {} : { extra_args: [] }),
    };
    await cli.client.call("PUT", path, deployIdOut, { body, signal });
  }
  const asked = await cli.client.call("GET", path, deploymentOut, { signal });
  const isUnderWay = asked.status !== "stopped" && asked.status !== "failed";
  const now = options.wait && isUnderWay ? await followDeployment(cli, asked) : asked;
  if (cli.json) cli.printJson(now);
  if (now.update_error !== null) {
    throw new CliError(
      exitCodes.failed,
      `The new arguments of ${plain(now.model_name)} were taken back: ${plain(now.update_error)}`,
    );
  }
  if (!cli.json) cli.print(`${plain(now.model_name)} has its new arguments.\n`);
}
