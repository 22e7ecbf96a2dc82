/**
 * Ends containers of this Berth that no instance owns: their record is damaged or gone, or their client was killed before it had
 * made them. In the background, because a runtime that hangs must hold up no engine that needs none.
 */
import type { Clock } from "../../../ports/clock.ts";
import { type Containers, removeContainer } from "./containers.ts";

export type Sweeper = {
  /** Looks now, and goes on until a look was complete. */
  look(): void;
  /** Resolves when the look that is under way is over; none begins any more. */
  close(): Promise<void>;
};

const againMs = 60_000;

export function createSweeper(of: {
  readonly containers: Pick<Containers, "list" | "nameOf">;
  readonly environment: NodeJS.ProcessEnv;
  readonly clock: Clock;
  isKept(instanceId: string): boolean;
  log(level: "info" | "warn", message: string, fields?: Record<string, unknown>): void;
}): Sweeper {
  const { containers, environment, clock, log } = of;
  const closing = new AbortController();
  let looking: Promise<void> | null = null;
  let isAsked = false;
  let isTold = false;

  /** Whether nothing is left that nobody owns. */
  async function sweep(): Promise<boolean> {
    try {
      for (const id of (await containers.list()).filter((one) => !of.isKept(one))) {
        log("warn", "a container that no instance owns is ended", { instanceId: id });
        await removeContainer(containers.nameOf(id, ""), { environment, clock });
      }
      isTold = false;
      return true;
    } catch (error) {
      // Once, and as no trouble: a client without its daemon may be on a machine for years, and no engine in a container.
      if (!isTold) log("info", "containers that nobody owns cannot be looked for", { error: String(error) });
      isTold = true;
      return false;
    }
  }

  async function run(): Promise<void> {
    while (isAsked && !closing.signal.aborted) {
      isAsked = false;
      if (await sweep()) continue;
      isAsked = true;
      await clock.sleep(againMs, closing.signal).catch(() => undefined); // Aborted: the loop ends.
    }
    looking = null;
  }

  return {
    look() {
      isAsked = true;
      looking ??= run();
    },
    async close() {
      closing.abort();
      await looking;
    },
  };
}
