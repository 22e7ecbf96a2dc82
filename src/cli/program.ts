/**
 * The command line as a whole: which commands there are, how one run begins and ends. Turns every outcome into an exit
 * code and, where something went wrong, one or two sentences on standard error. Must not know what commands do.
 */
import { Command, CommanderError } from "commander";
import { addAccount } from "./account.ts";
import { addAudit } from "./audit.ts";
import { addBackup } from "./backup.ts";
import { addChat } from "./chat.ts";
import { type Act, type Cli, type CliDeps, type GlobalOptions, openCli } from "./context.ts";
import { addDeploy } from "./deploy.ts";
import { addDoctor } from "./doctor.ts";
import { addDown } from "./down.ts";
import { addEngines } from "./engine.ts";
import { CliError, exitCodes, Interrupted, LocalError } from "./exit.ts";
import { addFit } from "./fit.ts";
import { addHistory } from "./history.ts";
import { addLogs } from "./logs.ts";
import { addLs } from "./ls.ts";
import { addPresets } from "./presets.ts";
import { addRm } from "./rm.ts";
import { addScale } from "./scale.ts";
import { addServe } from "./serve.ts";
import { addStart } from "./start.ts";
import { addStatus } from "./status.ts";
import { addStop } from "./stop.ts";
import { plain, printableJson } from "./terminal.ts";
import { addToken } from "./token.ts";
import { addUpdate } from "./update.ts";
import { addHub } from "./weights.ts";
import { addSimulate } from "./what-if.ts";
import { addWhy } from "./why.ts";

const helpAfter = `
Examples:
  berth serve                                  start Berth here
  berth deploy Qwen/Qwen3-0.6B-GGUF            deploy a model
  berth chat Qwen3-0.6B-GGUF "Hello"           talk to it
  berth ls                                     see what runs

Environment:
  BERTH_URL         address of the Berth; default: the one on this machine, as BERTH_PORT or $BERTH_HOME/address say
  BERTH_API_TOKEN   token for it; default: the file "token" in $BERTH_HOME (~/.berth), for a Berth on this machine
  NO_COLOR          no colours

Exit codes:
  0 done   1 failed or refused   2 wrong usage   3 Berth cannot be reached, or cannot answer now
  4 no such deployment, model or token   5 token missing, wrong or without the right
  78 settings, a file or the state cannot be used (serve, simulate, backup, restore)   130 ended by Ctrl-C`;

/**
 * The command line of Berth.
 * @returns `run`, which takes the arguments after the program's name and resolves to the exit code. It never ends the
 *   process, and throws only what `deps.serve` and `deps.down` throw
 */
export function createCli(deps: CliDeps): { run(argv: readonly string[]): Promise<number> } {
  return {
    async run(argv) {
      const ending = new AbortController();
      const stopListening = deps.onInterrupt(() => ending.abort(new Interrupted("Ctrl-C")));
      // Stays for ever: what was written last may fail after this run.
      deps.stdout.on("error", (error: NodeJS.ErrnoException) => ending.abort(describeOutputError(error)));
      const wantsJson = argv.includes("--json");
      try {
        const program = buildProgram(deps, ending.signal, wantsJson);
        if (argv.length === 0) program.outputHelp();
        else await program.parseAsync(argv, { from: "user" });
        await new Promise((resolve) => deps.stdout.write("", resolve));
        ending.signal.throwIfAborted();
        return exitCodes.ok;
      } catch (error) {
        if (error instanceof LocalError) throw error.cause;
        return reportEnd(deps, error, wantsJson);
      } finally {
        stopListening();
      }
    },
  };
}

/** A reader that has seen enough, as `head`, is no failure: what was written until then was all that was wanted. */
function describeOutputError(error: NodeJS.ErrnoException): CliError {
  if (error.code === "EPIPE") return new CliError(exitCodes.ok, null);
  return new CliError(
    exitCodes.failed,
    `Standard output cannot be written (${error.code ?? error.message}).`,
  );
}

/** What Commander says of wrong usage, in one line and with what to do next. */
function describeUsage(text: string): string {
  const said = text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ")
    .replace(/\.$/, "");
  return `${said}. \`berth --help\` lists the commands, \`berth <command> --help\` what one takes.`;
}

function buildProgram(deps: CliDeps, signal: AbortSignal, wantsJson: boolean): Command {
  const program = new Command("berth")
    .description("Deploys Hugging Face models on your own machines behind an OpenAI-compatible endpoint.")
    .version(deps.version, "--version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .option("--url <url>", "address of the Berth")
    .option("--json", "print JSON for programs; errors too")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void deps.stdout.write(text),
      writeErr: (text) => void deps.stderr.write(text),
      // With --json, `reportEnd` prints the error as an object.
      outputError: (text, write) => {
        if (!wantsJson) write(`berth: ${describeUsage(text)}\n`);
      },
      getOutHelpWidth: () => deps.stdout.columns || 100,
      getErrHelpWidth: () => deps.stderr.columns || 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride()
    .addHelpText("after", helpAfter);
  const act: Act =
    <Inputs extends unknown[]>(run: (cli: Cli, ...inputs: Inputs) => Promise<void>) =>
    async (...given) => {
      const cli = openCli(deps, program.opts<GlobalOptions>(), signal);
      // Commander passes the command last; what comes before is what the command declared.
      await run(cli, ...(given.slice(0, -1) as Inputs));
    };
  addServe(program, act);
  addDown(program, act);
  addDeploy(program, act);
  addLs(program, act);
  addStatus(program, act);
  addWhy(program, act);
  addStop(program, act);
  addStart(program, act);
  addScale(program, act);
  addUpdate(program, act);
  addHistory(program, act);
  addPresets(program, act);
  addFit(program, act);
  addRm(program, act);
  addLogs(program, act);
  addChat(program, act);
  addAccount(program, act);
  addToken(program, act);
  addAudit(program, act);
  addHub(program, act);
  addEngines(program, act);
  addSimulate(program, act);
  addBackup(program, act);
  addDoctor(program, act);
  return program;
}

function reportEnd(deps: CliDeps, error: unknown, wantsJson: boolean): number {
  const { exitCode, message } = describeEnd(error, wantsJson);
  if (message !== null) {
    const text = plain(message);
    deps.stderr.write(wantsJson ? `${printableJson({ error: text })}\n` : `berth: ${text}\n`);
  }
  if (deps.env.BERTH_DEBUG === "1" && error instanceof Error) deps.stderr.write(`${error.stack}\n`);
  return exitCode;
}

/** The message is null where all has been said. */
function describeEnd(error: unknown, wantsJson: boolean): { exitCode: number; message: string | null } {
  if (error instanceof CliError) {
    return { exitCode: error.exitCode, message: error.isSilent ? null : error.message };
  }
  if (error instanceof Interrupted) return { exitCode: exitCodes.interrupted, message: null };
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return { exitCode: exitCodes.ok, message: null };
    // Commander has printed it, unless JSON is wanted.
    return { exitCode: exitCodes.usage, message: wantsJson ? describeUsage(error.message) : null };
  }
  const text = error instanceof Error ? error.message : String(error);
  const message = `This is a defect in Berth's command line: ${text}. BERTH_DEBUG=1 shows where it happened.`;
  return { exitCode: exitCodes.failed, message };
}
