/**
 * `berth down`: ends Berth and its engines. A Berth that answers is asked to; where none does, engines that outlived
 * it on this machine are ended by what `main.ts` passed in.
 */
import type { Command } from "commander";
import { berthDownOut } from "../schema/account.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { localOptions, runLocally } from "./serve.ts";

/** Engines get their time to finish streams before they are ended. */
const downLimitMs = 10 * 60_000;
const askEveryMs = 250;
const askTimeoutMs = 2000;

const examples = `
Examples:
  berth down
  BERTH_HOME=/srv/berth berth down      also when that Berth was killed: ends the engines it left`;

export function addDown(program: Command, act: Act): void {
  program
    .command("down")
    .summary("stop Berth and all engines")
    .description("Stops Berth and all its engines. Deployments are kept; `berth serve` starts them again.")
    .addHelpText("after", examples)
    .action(act(runDown));
}

async function runDown(cli: Cli): Promise<void> {
  try {
    await cli.client.call("POST", "/v1/berth/down", berthDownOut, { signal: cli.signal });
  } catch (error) {
    // 503 is of this kind too: then a Berth is there, and only its control is restarting.
    const isAway = error instanceof CliError && error.exitCode === exitCodes.unreachable;
    if (!isAway || !cli.isOwnBerth || (await isUp(cli))) throw error;
    await runLocally(() => cli.deps.down(localOptions(cli, {})));
    return;
  }
  cli.note("Berth is stopping; requests under way may finish.");
  await waitUntilGone(cli);
  if (cli.json) cli.printJson({ status: "stopped" });
  else cli.print("Berth and its engines are stopped.\n");
}

async function waitUntilGone(cli: Cli): Promise<void> {
  const { clock } = cli.deps;
  const sinceMs = clock.now();
  while (await isUp(cli)) {
    if (clock.now() - sinceMs > downLimitMs) {
      throw new CliError(
        exitCodes.failed,
        `${cli.client.url} was asked to stop and still answers; its log says why.`,
      );
    }
    await clock.sleep(askEveryMs, cli.signal);
  }
}

function isUp(cli: Cli): Promise<boolean> {
  return cli.client.answers("/healthz", AbortSignal.any([cli.signal, AbortSignal.timeout(askTimeoutMs)]));
}
