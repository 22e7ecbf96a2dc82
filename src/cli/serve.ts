/** `berth serve`: starts Berth in the foreground. Only turns options into settings; what they mean is the server's. */
import type { Command } from "commander";
import type { Act, Cli, LocalOptions } from "./context.ts";
import { CliError, exitCodes, LocalError } from "./exit.ts";
import { wholeNumber } from "./options.ts";

export type ServeOptions = {
  readonly host?: string;
  readonly port?: number;
  readonly home?: string;
  /** False with --no-starter. */
  readonly starter: boolean;
};

const examples = `
Examples:
  berth serve
  berth serve --port 9000 --no-starter
  BERTH_HOME=/srv/berth HF_ENDPOINT=https://hub.example berth serve

All settings are in docs/reference/config.md; options here come before the environment and berth.yaml. Ctrl-C ends
Berth and leaves the engines running, so that the next start finds them ready; \`berth down\` ends them too.`;

export function addServe(program: Command, act: Act): void {
  program
    .command("serve")
    .summary("start Berth on this machine")
    .description("Starts Berth on this machine and stays in the foreground.")
    .option("--host <address>", "address to listen on")
    .option("--port <n>", "port to listen on; 0 takes a free one", wholeNumber(0, 65_535))
    .option("--home <folder>", "folder of all state")
    .option("--no-starter", "do not deploy the starter model when the state is new")
    .addHelpText("after", examples)
    .action(act(runServe));
}

async function runServe(cli: Cli, options: ServeOptions): Promise<void> {
  await runLocally(() => cli.deps.serve(localOptions(cli, options)));
}

/** Options as settings, named as in docs/reference/config.md. */
export function localOptions(cli: Cli, options: Partial<ServeOptions>): LocalOptions {
  return {
    json: cli.json,
    settings: {
      ...(options.host === undefined ? {} : { BERTH_HOST: options.host }),
      ...(options.port === undefined ? {} : { BERTH_PORT: `${options.port}` }),
      ...(options.home === undefined ? {} : { BERTH_HOME: options.home }),
      ...(options.starter === false ? { BERTH_STARTER: "off" } : {}),
    },
  };
}

/**
 * Runs what `main.ts` passed in.
 * @throws CliError that says nothing more, unless the exit code is 0; LocalError when it throws
 */
export async function runLocally(run: () => Promise<number>): Promise<void> {
  let exitCode: number;
  try {
    exitCode = await run();
  } catch (cause) {
    throw new LocalError("passed on", { cause });
  }
  if (exitCode !== exitCodes.ok) throw new CliError(exitCode, null);
}
