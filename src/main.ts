/**
 * Where every process of Berth begins: the role is the first argument (`control` and `gateway` are started by `serve`), all
 * else is the command line. Each role is a file in `roles/`, loaded only by the process that runs it. Nothing imports this.
 */
import { createCli } from "./cli/program.ts";
import { version } from "./roles/process.ts";
import { SettingsError } from "./settings.ts";
import { StoreError } from "./store/error.ts";
import { explainListenError } from "./supervisor/address.ts";
import { configurationExitCode } from "./supervisor/child.ts";
import { systemClock } from "./telemetry/clock.ts";

async function runCli(argv: readonly string[]): Promise<number> {
  const cli = createCli({
    env: process.env,
    ...{ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
    ...{ fetch, clock: systemClock, version },
    onInterrupt(listener) {
      process.on("SIGINT", listener);
      return () => process.off("SIGINT", listener);
    },
    serve: async ({ settings }) => (await import("./roles/serve.ts")).serve(settings),
    engines: async (task) => (await import("./roles/engines.ts")).engines(task),
    simulate: async (task) => (await import("./roles/simulate.ts")).simulate(task),
    backup: async ({ settings, file, json }) =>
      (await import("./roles/backup.ts")).backup(settings, file, json),
    restore: async ({ settings, file, json }) =>
      (await import("./roles/backup.ts")).restore(settings, file, json),
    down: async ({ settings, json }) => (await import("./roles/down.ts")).down(settings, json),
  });
  return await cli.run(argv);
}

/** Expected refusals are one line; the rest is a defect and shows where. */
function explainEnd(error: unknown): number {
  const expected =
    error instanceof SettingsError || error instanceof StoreError ? error.message : explainListenError(error);
  process.stderr.write(`berth: ${expected ?? (error as Error).stack ?? String(error)}\n`);
  return expected === null ? 1 : configurationExitCode;
}

const [role = "", ...rest] = process.argv.slice(2);
const isShared = rest.length === 1 && rest[0] === "shared";
try {
  if (role === "control" && rest.length === 0) await (await import("./roles/control.ts")).runControl();
  else if (role === "gateway" && (rest.length === 0 || isShared))
    await (await import("./roles/gateway.ts")).runGateway(isShared);
  else process.exitCode = await runCli(process.argv.slice(2));
} catch (error) {
  process.exit(explainEnd(error));
}
