/** Lets a command that watches something outlive a restart of Berth, which takes a second or two. */
import type { Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";

const awayLimitMs = 60_000;
const askEveryMs = 1000;

/**
 * Asks again while Berth cannot be reached, for a minute at most.
 * @param onAway called before every wait
 * @throws whatever `ask` throws in the end
 */
export async function askPatiently<T>(cli: Cli, ask: () => Promise<T>, onAway: () => void): Promise<T> {
  const { clock } = cli.deps;
  const sinceMs = clock.now();
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const isAway = error instanceof CliError && error.exitCode === exitCodes.unreachable;
      if (!isAway || clock.now() - sinceMs > awayLimitMs) throw error;
    }
    onAway();
    await clock.sleep(askEveryMs, cli.signal);
  }
}
