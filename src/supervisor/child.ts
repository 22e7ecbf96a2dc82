/**
 * The supervised side: how a role notices that its supervisor is gone, and talks to it. Both do nothing in a role that
 * was started by itself.
 */
import type { ChildMessage } from "./message.ts";

/**
 * Exit code (EX_CONFIG of sysexits.h) of a role that cannot run with its settings: starting it again would not help,
 * so the supervisor stops with the same code. The role has said on stderr what is wrong.
 */
export const configurationExitCode = 78;

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
