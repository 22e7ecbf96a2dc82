/** `berth rm`: deletes a deployment, after asking. */
import type { Command } from "commander";
import { deployIdOut } from "../schema/deploy.ts";
import { askPerson } from "./ask.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { findDeployment } from "./find.ts";
import { plain } from "./terminal.ts";

type RmOptions = { readonly yes?: boolean };

const examples = `
Examples:
  berth rm qwen
  berth rm qwen --yes     in a script`;

export function addRm(program: Command, act: Act): void {
  program
    .command("rm")
    .summary("delete a deployment")
    .description("Deletes a deployment; its name is free again. Asks first.")
    .argument("<name>", "full name, bare name or deploy id")
    .option("-y, --yes", "do not ask")
    .addHelpText("after", examples)
    .action(act(runRm));
}

async function runRm(cli: Cli, name: string, options: RmOptions): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const shown = plain(deployment.model_name);
  if (options.yes !== true) await confirm(cli, `Delete ${shown} (${plain(deployment.status)})?`);
  const path = `/deploy/${deployment.deploy_id}`;
  const answer = await cli.client.call("DELETE", path, deployIdOut, { signal: cli.signal });
  if (cli.json) cli.printJson(answer);
  else cli.print(`${shown} is deleted.\n`);
}

/** @throws CliError unless the person says yes */
export async function confirm(cli: Cli, question: string): Promise<void> {
  if (cli.deps.stdin.isTTY !== true) {
    throw new CliError(exitCodes.usage, `${question} Nobody can be asked here: repeat with --yes.`);
  }
  const answer = await askPerson(cli, `${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer?.trim() ?? "")) throw new CliError(exitCodes.failed, "Nothing was deleted.");
}
