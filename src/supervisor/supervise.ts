/**
 * Keeps the roles of one installation running as child processes: starts them, starts whichever dies again, and ends
 * them in order. Children have a session of their own, so that a terminal's Ctrl-C reaches only the supervisor, and a
 * channel, so that they notice its end. Knows nothing of what a role does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { configurationExitCode } from "./child.ts";
import { parseChildMessage } from "./message.ts";

export type Role = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
};

export type SuperviseOptions = {
  /** In the order of their start; they are stopped in the opposite order, one after the other. */
  readonly roles: readonly Role[];
  readonly clock: { now(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
  /** How long each role may take to stop before it is killed. */
  readonly stopGraceMs: number;
  /** A role serves, for the first time or again after it was started anew. */
  onReady(role: string, details: Readonly<Record<string, string>>): void;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

export type Supervisor = {
  /** Resolves when every role has ended, with the exit code for the supervisor itself. */
  readonly done: Promise<number>;
  /** Stops the roles in order; called again a second later or more, at once and by force. */
  stop(): void;
};

/** A role that ran this long has recovered: its earlier ends are forgotten. */
const stableMs = 60_000;
const firstRestartMs = 100;
const maxRestartMs = 10_000;

/**
 * One Ctrl-C may arrive several times: from the terminal, and passed on by npm. Only what comes later than this is
 * impatience.
 */
const sameSignalMs = 1_000;

const stopSignals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Pause before the next start: 100 ms after the first end, then doubled, at most 10 s. */
export function restartDelayMs(endsInARow: number): number {
  return Math.min(maxRestartMs, firstRestartMs * 2 ** (endsInARow - 1));
}

type Running = { child: ChildProcess | null };
type RoleExit = { readonly code: number | null; readonly signal: string | null };

/** Starts the roles and takes over SIGTERM, SIGINT and SIGHUP until `done`. */
export function supervise(options: SuperviseOptions): Supervisor {
  const { clock, log } = options;
  const stopping = new AbortController();
  const forcing = new AbortController();
  const running = options.roles.map((role) => ({ role, child: null as ChildProcess | null }));
  const { promise: done, resolve } = Promise.withResolvers<number>();
  let stopAskedAtMs: number | null = null;

  function stop(): void {
    if (stopAskedAtMs === null) {
      stopAskedAtMs = clock.now();
      void shutDown(0);
    } else if (clock.now() - stopAskedAtMs >= sameSignalMs) {
      forcing.abort();
    }
  }

  async function shutDown(exitCode: number): Promise<void> {
    if (stopping.signal.aborted) return;
    stopping.abort();
    for (const one of running.toReversed()) {
      if (one.child !== null) await endChild(one.child, options, forcing.signal);
    }
    for (const signal of stopSignals) process.off(signal, stop);
    resolve(exitCode);
  }

  async function keepRunning(role: Role, slot: Running): Promise<void> {
    let endsInARow = 0;
    let hasServed = false;
    const onceServed = () => {
      hasServed = true;
    };
    while (!stopping.signal.aborted) {
      const startedAtMs = clock.now();
      const exit = await runOnce(role, slot, options, onceServed, () => void shutDown(0));
      if (stopping.signal.aborted) return;
      // Settings that it has served with are right: what they name is away, a database for instance, and comes back.
      if (exit.code === configurationExitCode && !hasServed) {
        await shutDown(configurationExitCode);
        return;
      }
      endsInARow = clock.now() - startedAtMs >= stableMs ? 1 : endsInARow + 1;
      const delayMs = restartDelayMs(endsInARow);
      log("error", `${role.name} ended and is started again`, { ...exit, inMs: delayMs });
      await pause(clock, delayMs, stopping.signal);
    }
  }

  for (const signal of stopSignals) process.on(signal, stop);
  for (const one of running) void keepRunning(one.role, one);
  return { done, stop };
}

/** Runs a role until it ends. Never rejects: a program that cannot be started has ended. */
async function runOnce(
  role: Role,
  slot: Running,
  { onReady, log }: SuperviseOptions,
  onServing: () => void,
  onDown: () => void,
): Promise<RoleExit> {
  return await new Promise((resolve) => {
    const child = spawn(role.command, [...role.args], {
      env: role.env,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      detached: true,
    });
    slot.child = child;
    child.on("message", (value) => {
      const message = parseChildMessage(value);
      if (message === null) log("warn", `${role.name} sent a message that is none`);
      else if (message.type === "down") onDown();
      else {
        onServing();
        onReady(role.name, message.details);
      }
    });
    const end = (exit: RoleExit) => {
      slot.child = null;
      resolve(exit);
    };
    child.once("error", (error) => {
      log("error", `${role.name} has a problem: ${error.message}`);
      if (child.pid === undefined) end({ code: null, signal: null });
    });
    child.once("exit", (code, signal) => end({ code, signal }));
  });
}

/** Asks the child to end, kills it when it takes too long or force is asked for, and waits until it is gone. */
async function endChild(child: ChildProcess, options: SuperviseOptions, force: AbortSignal): Promise<void> {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const over = new AbortController();
  const tooLong = pause(options.clock, options.stopGraceMs, AbortSignal.any([force, over.signal])).then(
    () => {
      if (!over.signal.aborted) child.kill("SIGKILL");
    },
  );
  await gone;
  over.abort();
  await tooLong;
}

async function pause(clock: SuperviseOptions["clock"], ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
