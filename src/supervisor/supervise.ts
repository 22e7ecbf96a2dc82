/**
 * Keeps the roles of one installation running as child processes: starts them, starts whichever dies again, and ends
 * them in order. Children have a session of their own, so that a terminal's Ctrl-C reaches only the supervisor, and a
 * channel, so that they notice its end. A role that is renewed overlaps with its successor. Knows nothing of what a role does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { configurationExitCode, listenFdVariable } from "./child.ts";
import { parseChildMessage, type SupervisorMessage } from "./message.ts";

export type Role = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Descriptor of its listening socket, which outlives it; see child.ts. */
  readonly listenFd?: number | null;
  /** `renew` starts a successor of it before it ends. */
  readonly isRenewable?: boolean;
};

export type SuperviseOptions = {
  /** In the order of their start; they are stopped in the opposite order, one after the other. */
  readonly roles: readonly Role[];
  readonly clock: { now(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
  /** SIGHUP renews. Else it stops, as is right at a terminal, whose closing sends it. */
  readonly renewsOnHangup?: boolean;
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
  /**
   * Replaces the renewable roles: the successor starts first, takes over (message.ts), and when it serves, the older
   * process is told to end. One that does not come to serve is given up, and the older one goes on. While a renewal
   * lasts, another one waits.
   */
  renew(): void;
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

/** Pause before the next start: 100 ms after the first end, then doubled, at most 10 s. */
export function restartDelayMs(endsInARow: number): number {
  return Math.min(maxRestartMs, firstRestartMs * 2 ** (endsInARow - 1));
}

/** One process of a role. */
type Life = {
  readonly child: ChildProcess;
  readonly startedAtMs: number;
  hasServed: boolean;
  hasEnded: boolean;
  isEnding: boolean;
};

type Slot = {
  readonly role: Role;
  current: Life | null;
  /** Has a successor, `current`. */
  older: Life | null;
  /** Asked for while an older one was still there. */
  wantsRenewal: boolean;
  endsInARow: number;
  hasServed: boolean;
};

type RoleExit = { readonly code: number | null; readonly signal: string | null };

/** Starts the roles and takes over SIGTERM, SIGINT and SIGHUP until `done`. */
export function supervise(options: SuperviseOptions): Supervisor {
  const { clock, log } = options;
  const stopping = new AbortController();
  const forcing = new AbortController();
  const slots = options.roles.map((role): Slot => {
    const none = { current: null, older: null, wantsRenewal: false };
    return { role, ...none, endsInARow: 0, hasServed: false };
  });
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
    for (const { current, older } of slots.toReversed()) {
      await Promise.all([current, older].map((life) => endLife(life, options, forcing.signal)));
    }
    for (const [signal, act] of signals) process.off(signal, act);
    resolve(exitCode);
  }

  function start(slot: Slot): void {
    const life = launch(slot.role, options, {
      onReady(details) {
        life.hasServed = true;
        slot.hasServed = true;
        options.onReady(slot.role.name, details);
        if (slot.older !== null && slot.current === life) retire(slot.older);
      },
      onDown: () => void shutDown(0),
      onTakeover(path) {
        if (slot.current !== life) return;
        if (slot.older === null) tell(life, { type: "alone" });
        else tell(slot.older, { type: "hand over", path });
      },
      onEnd: (exit) => void ended(slot, life, exit),
    });
    slot.current = life;
  }

  function retire(life: Life): void {
    if (life.isEnding) return;
    void endLife(life, options, forcing.signal);
  }

  async function ended(slot: Slot, life: Life, exit: RoleExit): Promise<void> {
    if (stopping.signal.aborted) return;
    const { name } = slot.role;
    if (life === slot.older) {
      slot.older = null;
      if (!life.isEnding) log("error", `${name} ended before its successor had taken over`, { ...exit });
      if (slot.current?.hasServed === false) tell(slot.current, { type: "alone" });
      if (slot.wantsRenewal) renewOne(slot);
      return;
    }
    if (!life.hasServed && slot.older !== null && !slot.older.isEnding) {
      log("error", `a successor of ${name} ended before it served; ${name} goes on`, { ...exit });
      slot.current = slot.older;
      slot.older = null;
      return;
    }
    slot.current = null;
    // Settings that it has served with are right: what they name is away, a database for instance, and comes back.
    if (exit.code === configurationExitCode && !slot.hasServed) {
      await shutDown(configurationExitCode);
      return;
    }
    slot.endsInARow = clock.now() - life.startedAtMs >= stableMs ? 1 : slot.endsInARow + 1;
    const delayMs = restartDelayMs(slot.endsInARow);
    log("error", `${name} ended and is started again`, { ...exit, inMs: delayMs });
    await pause(clock, delayMs, stopping.signal);
    if (!stopping.signal.aborted) start(slot);
  }

  function renewOne(slot: Slot): void {
    const { current } = slot;
    slot.wantsRenewal = slot.older !== null;
    // One that does not serve yet is new enough.
    if (slot.older !== null || current === null || !current.hasServed || stopping.signal.aborted) return;
    log("info", `${slot.role.name} is renewed`);
    slot.older = current;
    start(slot);
  }

  function renew(): void {
    for (const slot of slots) if (slot.role.isRenewable === true) renewOne(slot);
  }

  const onHangup = options.renewsOnHangup === true ? renew : stop;
  const signals = [
    ["SIGTERM", stop],
    ["SIGINT", stop],
    ["SIGHUP", onHangup],
  ] as const;
  for (const [signal, act] of signals) process.on(signal, act);
  for (const slot of slots) start(slot);
  return { done, stop, renew };
}

function tell({ child }: Life, message: SupervisorMessage): void {
  // A channel that breaks just now belongs to a process whose end is heard of.
  if (child.connected) child.send(message, undefined, undefined, () => undefined);
}

type Events = {
  onReady(details: Readonly<Record<string, string>>): void;
  onDown(): void;
  onTakeover(path: string): void;
  onEnd(exit: RoleExit): void;
};

/** Starts a process. Never throws: a program that cannot be started has ended. */
function launch(role: Role, { clock, log }: SuperviseOptions, events: Events): Life {
  const { listenFd = null } = role;
  const child = spawn(role.command, [...role.args], {
    env: listenFd === null ? role.env : { ...role.env, [listenFdVariable]: "" },
    stdio: ["ignore", "inherit", "inherit", "ipc", ...(listenFd === null ? [] : [listenFd])],
    detached: true,
  });
  const life: Life = {
    child,
    startedAtMs: clock.now(),
    hasServed: false,
    hasEnded: false,
    isEnding: false,
  };
  child.on("message", (value) => {
    const message = parseChildMessage(value);
    if (message === null) log("warn", `${role.name} sent a message that is none`);
    else if (message.type === "down") events.onDown();
    else if (message.type === "takeover") events.onTakeover(message.path);
    else events.onReady(message.details);
  });
  const end = (exit: RoleExit) => {
    if (life.hasEnded) return;
    life.hasEnded = true;
    events.onEnd(exit);
  };
  child.once("error", (error) => {
    log("error", `${role.name} has a problem: ${error.message}`);
    if (child.pid === undefined) end({ code: null, signal: null });
  });
  child.once("exit", (code, signal) => end({ code, signal }));
  return life;
}

/** Asks the process to end, kills it when it takes too long or force is asked for, and waits until it is gone. */
async function endLife(life: Life | null, options: SuperviseOptions, force: AbortSignal): Promise<void> {
  if (life === null || life.hasEnded) return;
  const { child } = life;
  life.isEnding = true;
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
