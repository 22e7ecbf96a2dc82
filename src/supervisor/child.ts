/**
 * The supervised side: how a role notices that its supervisor is gone, and talks to it. Both do nothing in a role that
 * was started by itself.
 */
import { Socket } from "node:net";
import { type ChildMessage, parseSupervisorMessage, type SupervisorMessage } from "./message.ts";

/**
 * Exit code (EX_CONFIG of sysexits.h) of a role that cannot run with its settings: starting it again would not help,
 * so the supervisor stops with the same code, unless the role has served with them before. The role has said on stderr what is wrong.
 */
export const configurationExitCode = 78;

/** Where a role finds the file that its supervisor shares with it: after the standard three and the channel. */
export const sharedFd = 4;

/** Calls back once when the supervisor has ended, also when it had before this call; never without a supervisor. */
export function onSupervisorGone(callback: () => void): void {
  if (process.send === undefined) return;
  if (!process.connected) {
    callback();
    return;
  }
  process.once("disconnect", callback);
  // Listening must not be what keeps a role alive.
  process.channel?.unref();
}

/** False when there is nobody to tell. */
export function tellSupervisor(message: ChildMessage): boolean {
  if (process.send === undefined || !process.connected) return false;
  // A channel that breaks just now is noticed by onSupervisorGone.
  process.send(message, undefined, undefined, () => undefined);
  return true;
}

/** Calls back with what the supervisor says, and what came with it. False when there is none. */
export function onSupervisorMessage(
  callback: (message: SupervisorMessage, handle: unknown) => void,
): boolean {
  if (process.send === undefined) return false;
  process.on("message", (value, handle: unknown) => {
    const message = parseSupervisorMessage(value);
    if (message !== null) callback(message, handle);
  });
  // Listening must not be what keeps a role alive.
  process.channel?.unref();
  return true;
}

/** Takes connections from a port, or leaves them to the others that share it. */
export type SharedPort = {
  rest(): void;
  /** @param port the port, in what can be listened on in place of an address */
  listenAgain(port: Socket): void;
};

/** From now on this role listens, or not, as its supervisor says. */
export function followPortShare(port: SharedPort): void {
  onSupervisorMessage(({ type }, handle) => {
    if (type === "rest") port.rest();
    if (type === "listen" && handle instanceof Socket) port.listenAgain(handle);
  });
}

/** From now on this role shows its supervisor that it runs whenever it is asked, and is replaced when it does not. */
export function answerSupervisor(): void {
  onSupervisorMessage(({ type }) => {
    if (type === "ask") tellSupervisor({ type: "alive" });
  });
}

/** Runs `end` once, when this role is told to end or its supervisor is gone, and then ends the process. */
export function endOnSignal(end: () => Promise<void>): void {
  const endOnce = once(end);
  process.on("SIGTERM", () => endOnce());
  onSupervisorGone(() => endOnce());
}

/**
 * For a role that is renewed while it serves: told to end, it asks for a successor, and runs `end` once that one serves. At
 * once where there is none to come: its supervisor stops, is gone, or never was, or it is told a second time.
 */
export function endAfterSuccessor(end: (hasSuccessor: boolean) => Promise<void>): void {
  const endOnce = once(end);
  let isAsked = false;
  process.on("SIGTERM", () => {
    if (isAsked || !tellSupervisor({ type: "renew" })) endOnce(false);
    isAsked = true;
  });
  onSupervisorMessage((message) => {
    if (message.type === "end") endOnce(message.hasSuccessor);
  });
  onSupervisorGone(() => endOnce(false));
}

function once<Args extends unknown[]>(end: (...args: Args) => Promise<void>): (...args: Args) => void {
  let isEnding = false;
  return (...args) => {
    if (isEnding) return;
    isEnding = true;
    end(...args).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(1);
      },
    );
  };
}
