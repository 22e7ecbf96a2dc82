/** `berth stop`: ends a deployment's instances and keeps the deployment. */
import type { Command } from "commander";
import { deployIdOut } from "../schema/deploy.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { plain } from "./terminal.ts";

const examples = `
Examples:
  berth stop qwen
  berth start qwen      brings it back; its weights are still there`;

export function addStop(program: Command, act: Act): void {
  program
    .command("stop")
    .summary("stop a deployment; it keeps its name and weights")
    .description("Stops a deployment: its instances end, its name and weights stay.")
    .argument("<name>", "full name, bare name or deploy id")
    .addHelpText("after", examples)
    .action(act(runStop));
}

async function runStop(cli: Cli, name: string): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const path = `/deploy/${deployment.deploy_id}/stop`;
  const answer = await cli.client.call("POST", path, deployIdOut, { signal: cli.signal });
  if (cli.json) cli.printJson(answer);
  else cli.print(`${plain(deployment.model_name)} is stopped.\n`);
}
