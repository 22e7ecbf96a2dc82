/**
 * Keeps the roles of one installation running as child processes: starts them, starts whichever dies again, and ends
 * them in order. Children have a session of their own, so that a terminal's Ctrl-C reaches only the supervisor, and a
 * channel, so that they notice its end. One that hangs (pulse.ts) is killed and started again too. Renewing starts each role from the code that is in place then: one that may be there
 * twice is replaced while it serves, its successor serves before it is told to end; others are ended first. Roles that share
 * their work (members.ts) are told who is there. Knows nothing of what a role does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Clock } from "../ports/clock.ts";
import { configurationExitCode } from "./child.ts";
import { type Hearer, Members, tell } from "./members.ts";
import { parseChildMessage, type Restart, type SupervisorMessage } from "./message.ts";
import { PortShare } from "./port-share.ts";
import { Pulse, standingOf } from "./pulse.ts";

export type Role = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Two of it may run for a while: on SIGUSR2, or when one asks, a successor takes its place. Others end before. */
  readonly isRenewable?: boolean;
  /** It shares its work with the other roles that have a seat, and is told who they are. They stop together. */
  readonly seat?: number;
  /** An open file that it finds as its descriptor 4. */
  readonly sharedFd?: number;
};

/** What children are told of, or are watched by. */
type Watchers = {
  readonly members: Members;
  readonly pulse: Pulse | null;
  /** Of the port of those that have a seat; null without one. */
  readonly share: PortShare | null;
};

export type SuperviseOptions = {
  /** In the order of their start; they are stopped in the opposite order, one after the other but for those that share. */
  readonly roles: readonly Role[];
  readonly clock: Clock;
  /** SIGHUP renews. Otherwise it stops, as is right at a terminal, whose end it tells of. */
  readonly renewsOnHangup?: boolean;
  /** How long each role may take to stop before it is killed. */
  readonly stopGraceMs: number;
  /** How long a role that serves may give no sign of life before it is killed and started again; without, for ever. */
  readonly hangMs?: number;
  /** A role serves, for the first time or again after it was started anew. */
  onReady(role: string, details: Readonly<Record<string, string>>): void;
  /** Everything is about to stop: before the first role is told. */
  onStopping?(): void;
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

/** Pause before the next start: 100 ms after the first end, then doubled, at most 10 s. */
export function restartDelayMs(endsInARow: number): number {
  return Math.min(maxRestartMs, firstRestartMs * 2 ** (endsInARow - 1));
}

/** Restarts that are told of, the newest. */
const maxRestarts = 20;

type RoleExit = { readonly code: number | null; readonly signal: string | null };

/** One process of a role. */
type Life = {
  readonly child: ChildProcess;
  /** Whether it came to serve before it ended. */
  readonly served: Promise<boolean>;
  /** Never rejects: a program that cannot be started has ended. */
  readonly exit: Promise<RoleExit>;
};

/** A role with its processes: one, and for a while those that it was renewed from or is renewed by. */
class Place {
  readonly role: Role;
  /** In the order of their start. */
  readonly alive = new Set<ChildProcess>();
  isRenewing = false;
  /** Its end is wanted: another is started at once. */
  isRestarting = false;
  #current: Life | null = null;
  #onNext: ((life: Life) => void) | null = null;
  /** Serves already, and is to take the place. */
  successor: Life | null = null;
  #onSuccessor: (() => void) | null = null;

  constructor(role: Role) {
    this.role = role;
  }

  get current(): Life | null {
    return this.#current;
  }

  begins(life: Life): void {
    this.#current = life;
    this.isRestarting = false;
    this.#onNext?.(life);
  }

  /** Resolves with the one that is started next. */
  async next(): Promise<Life> {
    return await new Promise((resolve) => {
      this.#onNext = resolve;
    });
  }

  /** Resolves when no more than one is alive. */
  async alone(): Promise<void> {
    while (this.alive.size > 1) {
      await Promise.race(
        [...this.alive].map((child) => new Promise((resolve) => child.once("exit", resolve))),
      );
    }
  }

  succeed(life: Life): void {
    this.successor = life;
    this.#onSuccessor?.();
  }

  /** Resolves with the exit, or null when a successor has come before. */
  async endOf(life: Life): Promise<RoleExit | null> {
    const succeeded = new Promise<null>((resolve) => {
      this.#onSuccessor = () => resolve(null);
      if (this.successor !== null) resolve(null);
    });
    return await Promise.race([life.exit, succeeded]);
  }
}

/** Starts the roles and takes over SIGTERM, SIGINT, SIGHUP and SIGUSR2 until `done`. */
export function supervise(options: SuperviseOptions): Supervisor {
  const { clock, log } = options;
  const stopping = new AbortController();
  const forcing = new AbortController();
  const places = options.roles.map((role) => new Place(role));
  const members = new Members(clock, (message) => log("error", message));
  const sharedFd = options.roles.find(({ seat }) => seat !== undefined)?.sharedFd;
  const share = sharedFd === undefined ? null : new PortShare(sharedFd);
  const hung = new WeakSet<Hearer>();
  const pulse = options.hangMs === undefined ? null : openPulse(options.hangMs);
  let restarts: readonly Restart[] = [];
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
    options.onStopping?.();
    for (const together of stages(places).toReversed()) {
      const alive = together.flatMap((place) => [...place.alive]);
      await Promise.all(alive.map((child) => endChild(child, options, forcing.signal)));
    }
    for (const [signal, act] of signals) process.off(signal, act);
    resolve(exitCode);
  }

  /** One after the other in their order, and no further where the code that is in place now does not serve: what is there goes on. */
  async function renewAll(): Promise<void> {
    for (const place of places) {
      const isServing = place.role.isRenewable === true ? await renew(place) : await restart(place);
      if (!isServing) return;
    }
  }

  /** True when the next process of the role serves. */
  async function restart(place: Place): Promise<boolean> {
    const { current, role } = place;
    if (current === null || place.isRestarting || stopping.signal.aborted) return false;
    place.isRestarting = true;
    log("info", `${role.name} is restarted`, {});
    const next = place.next();
    await endChild(current.child, options, forcing.signal);
    return await (await next).served;
  }

  async function renew(place: Place): Promise<boolean> {
    if (place.isRenewing || stopping.signal.aborted) return false;
    place.isRenewing = true;
    // What one hands over goes to one: the next waits until an earlier one has drained.
    await place.alone();
    if (stopping.signal.aborted) return false;
    log("info", `${place.role.name} is renewed`, {});
    const life = start(place);
    const isServing = await life.served;
    if (isServing) place.succeed(life);
    else
      log("error", `${place.role.name} could not be renewed; the one that serves goes on`, await life.exit);
    place.isRenewing = false;
    return isServing;
  }

  function openPulse(hangMs: number): Pulse {
    const onHung = (child: Hearer) => {
      hung.add(child);
      child.kill("SIGKILL");
    };
    const opened = new Pulse({ clock, hangMs, standingOf, onHung });
    void opened.watch(stopping.signal);
    return opened;
  }

  /** What the log says and a person who asks later hears. */
  function noteRestart({ name }: Role, child: ChildProcess, { code, signal }: RoleExit, inMs: number): void {
    const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
    const silentS = (options.hangMs ?? 0) / 1000;
    const reason = hung.has(child) ? `gave no sign of life for ${silentS} s and was killed` : how;
    log("error", `${name} ${reason}; it is started again`, { code, signal, inMs });
    restarts = [...restarts, { role: name, atMs: clock.now(), reason }].slice(-maxRestarts);
    for (const { alive } of places) for (const other of alive) tell(other, { type: "restarts", restarts });
  }

  function start(place: Place): Life {
    const life = startLife(place, { members, pulse, share }, options, {
      onDown: () => void shutDown(0),
      onRenew: (child) => {
        if (stopping.signal.aborted) tell(child, { type: "end", hasSuccessor: false });
        else void renew(place);
      },
    });
    tell(life.child, { type: "restarts", restarts });
    return life;
  }

  async function keepRunning(place: Place): Promise<void> {
    const { role } = place;
    let endsInARow = 0;
    let hasServed = false;
    while (!stopping.signal.aborted) {
      const startedAtMs = clock.now();
      const life = place.successor ?? start(place);
      place.successor = null;
      place.begins(life);
      void life.served.then((isServing) => {
        hasServed ||= isServing;
      });
      const exit = await place.endOf(life);
      if (stopping.signal.aborted) return;
      if (exit === null) {
        void retire(life.child);
        continue;
      }
      if (place.isRestarting) continue;
      // Settings that it has served with are right: what they name is away, a database for instance, and comes back.
      if (exit.code === configurationExitCode && !hasServed) {
        await shutDown(configurationExitCode);
        return;
      }
      endsInARow = clock.now() - startedAtMs >= stableMs ? 1 : endsInARow + 1;
      const delayMs = restartDelayMs(endsInARow);
      noteRestart(role, life.child, exit, delayMs);
      await pause(clock, delayMs, stopping.signal);
    }
  }

  /** Its successor serves: it finishes what it has. */
  async function retire(child: ChildProcess): Promise<void> {
    share?.leaves(child);
    await endChild(child, options, forcing.signal, { type: "end", hasSuccessor: true });
  }

  const signals = [
    ["SIGTERM", stop],
    ["SIGINT", stop],
    ["SIGHUP", options.renewsOnHangup === true ? () => void renewAll() : stop],
    ["SIGUSR2", () => void renewAll()],
  ] as const;
  for (const [signal, act] of signals) process.on(signal, act);
  for (const place of places) void keepRunning(place);
  return { done, stop };
}

/** Those that stop at once; the stages stop one after the other. */
function stages(places: readonly Place[]): Place[][] {
  return Object.values(
    Object.groupBy(places, ({ role }, at) => (role.seat === undefined ? `at ${at}` : "sharing")),
  ).filter((stage) => stage !== undefined);
}

function startLife(
  place: Place,
  { members, pulse, share }: Watchers,
  { onReady, log }: SuperviseOptions,
  on: { onDown(): void; onRenew(child: ChildProcess): void },
): Life {
  const { role } = place;
  const shared = role.sharedFd === undefined ? [] : [role.sharedFd];
  const child = spawn(role.command, [...role.args], {
    env: role.env,
    stdio: ["ignore", "inherit", "inherit", "ipc", ...shared],
    detached: true,
  });
  place.alive.add(child);
  if (role.seat !== undefined) members.started(child);
  pulse?.started(child);
  const served = Promise.withResolvers<boolean>();
  const exit = Promise.withResolvers<RoleExit>();
  child.on("message", (value) => {
    const message = parseChildMessage(value);
    if (message === null) log("warn", `${role.name} sent a message that is none`);
    else if (message.type === "alive") pulse?.heard(child);
    else if (message.type === "down") on.onDown();
    else if (message.type === "renew") on.onRenew(child);
    else if (message.type === "room") share?.hasRoom(child, message.hasRoom);
    else if (message.type === "entered") members.entered(child, message.version);
    else if (message.type === "join") {
      if (role.seat !== undefined) members.joins(child, role.seat, message.path);
    } else {
      served.resolve(true);
      if (role.seat !== undefined) share?.serves(child);
      onReady(role.name, message.details);
    }
  });
  const end = (how: RoleExit) => {
    place.alive.delete(child);
    members.ended(child);
    pulse?.ended(child);
    share?.leaves(child);
    served.resolve(false);
    exit.resolve(how);
  };
  child.once("error", (error) => {
    log("error", `${role.name} has a problem: ${error.message}`);
    if (child.pid === undefined) end({ code: null, signal: null });
  });
  child.once("exit", (code, signal) => end({ code, signal }));
  return { child, served: served.promise, exit: exit.promise };
}

/** Asks the child to end, kills it when it takes too long or force is asked for, and waits until it is gone. */
async function endChild(
  child: ChildProcess,
  options: SuperviseOptions,
  force: AbortSignal,
  message: SupervisorMessage | null = null,
): Promise<void> {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  if (child.exitCode !== null || child.signalCode !== null) return;
  if (message === null) child.kill("SIGTERM");
  else tell(child, message);
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

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
