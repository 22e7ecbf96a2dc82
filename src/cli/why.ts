/** `berth why`: the facts and decisions that led to a deployment's state, and what would change it. */
import type { Command } from "commander";
import { whyOut } from "../schema/events.ts";
import { formatAge, readTimestamp } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { findDeployment } from "./find.ts";
import { plain } from "./terminal.ts";

const examples = `
Examples:
  berth why Qwen3-0.6B-GGUF
  berth why KidPPejFzJw0ESWa --json`;

export function addWhy(program: Command, act: Act): void {
  program
    .command("why")
    .summary("why a deployment is in its state, and what would change it")
    .description(
      "Shows what a deployment's state follows from, what was decided since it was last changed, and what would change it.",
    )
    .argument("<name>", "full name, bare name or deploy id")
    .addHelpText("after", examples)
    .action(act(runWhy));
}

async function runWhy(cli: Cli, name: string): Promise<void> {
  const deployment = await findDeployment(cli, name);
  const why = await cli.client.call("GET", `/deploy/${deployment.deploy_id}/why`, whyOut, {
    signal: cli.signal,
  });
  if (cli.json) return cli.printJson(why);
  const { palette } = cli;
  const nowMs = cli.deps.clock.now();
  const list = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? "" : `\n${palette.dim(title)}\n${lines.map((line) => `  ${line}\n`).join("")}`;
  const decided = why.chain.map(
    ({ at, text }) => `${palette.dim(`${formatAge(readTimestamp(at), nowMs)} ago`)}  ${plain(text)}`,
  );
  cli.print(
    `${palette.bold(plain(deployment.model_name))} is ${plain(why.status)}\n` +
      list("Because", why.facts.map(plain)) +
      list("What was asked for and decided", decided) +
      list("What would change it", why.would_change.map(plain)),
  );
}
