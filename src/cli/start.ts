/** `berth start`: starts a stopped or failed deployment again and follows it. */
import type { Command } from "commander";
import { deployIdOut } from "../schema/deploy.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { followDeployment } from "./follow.ts";

type StartOptions = { readonly wait: boolean };

const examples = `
Examples:
  berth start qwen
  berth start qwen --no-wait`;

export function addStart(program: Command, act: Act): void {
  program
    .command("start")
    .summary("start a stopped or failed deployment and follow it")
    .description("Starts a stopped or failed deployment again and follows it until it runs.")
    .argument("<name>", "full name, bare name or deploy id")
    .option("--no-wait", "return as soon as the start is accepted")
    .addHelpText("after", examples)
    .action(act(runStart));
}

async function runStart(cli: Cli, name: string, options: StartOptions): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}/start`;
  const answer = await cli.client.call("POST", path, deployIdOut, { signal: cli.signal });
  if (!options.wait) {
    if (cli.json) cli.printJson(answer);
    else cli.note(`${deployment.model_name} is starting.`);
    return;
  }
  const running = await followDeployment(cli, deployment);
  if (cli.json) cli.printJson(running);
}
