/**
 * Ending all of an instance, for certain: politely through the engine's process group, then by force, then whatever else
 * carries the instance's mark or is left of the group (children that outlived the engine), and its container. Touches no
 * process that is not provably the instance's.
 */
import type { Clock } from "../../ports/clock.ts";
import { type ContainerName, removeContainer } from "./containers/containers.ts";
import type { ProcessIdentity, ProcessTable } from "./process.ts";

/** How long a killed process may take to disappear; longer means that it hangs in the kernel. */
const killedWithinMs = 10_000;

export type EndOptions = {
  readonly instanceId: string;
  /** The instance's folder, real path, which need not exist any more: tells another Berth's instance of that id. */
  readonly folder: string;
  /** The engine's own process, null when it is not known. */
  readonly leader: ProcessIdentity | null;
  /** How long it may take to end politely; 0 kills at once. */
  readonly graceMs: number;
  /** Null where the engine is a process of this machine. */
  readonly container: ContainerName | null;
  readonly environment: NodeJS.ProcessEnv;
  readonly processes: ProcessTable;
  readonly clock: Clock;
};

/** Resolves when nothing of the instance runs any more. Throws when that cannot be had. */
export async function endInstance(options: EndOptions): Promise<void> {
  await endProcesses(options);
  // Its client hands SIGTERM on and ends with it. One that was killed, or lost its daemon for a moment, has left it behind.
  if (options.container !== null) await removeContainer(options.container, options);
}

/** Throws when a process cannot be killed. */
async function endProcesses(options: EndOptions): Promise<void> {
  const { processes, clock, instanceId, graceMs } = options;
  const findOwn = async () =>
    (await processes.findMarked()).filter(
      (found) => found.instanceId === instanceId && (found.folder ?? options.folder) === options.folder,
    );
  const leaders =
    options.leader === null
      ? (await findOwn()).filter((one) => one.isLeader).map((one) => one.identity)
      : [options.leader];
  const living = async () => {
    const alive = await Promise.all(leaders.map((leader) => processes.isAlive(leader)));
    return leaders.filter((_, index) => alive[index] === true);
  };
  if (graceMs > 0) {
    for (const leader of await living()) send(-leader.pid, "SIGTERM");
    await waitUntil(clock, graceMs, 20, async () => (await living()).length === 0);
  }
  for (const leader of await living()) send(-leader.pid, "SIGKILL");

  const isGone = await waitUntil(clock, killedWithinMs, 200, async () => {
    if ((await living()).length > 0) return false;
    const groups = await Promise.all(leaders.map((leader) => processes.findGroup(leader)));
    const rest = [...(await findOwn()).map(({ identity }) => identity), ...groups.flat()];
    for (const identity of rest) {
      // Looked at again just before: the listing may be milliseconds old.
      if (await processes.isAlive(identity)) send(identity.pid, "SIGKILL");
    }
    return rest.length === 0;
  });
  if (!isGone) {
    throw new Error(
      `A process of instance ${instanceId} did not end within ${killedWithinMs / 1000} s of SIGKILL; it hangs in the kernel (disk or GPU driver).`,
    );
  }
}

/** Asks at once, then ever less often, at most every `maxPauseMs`. False when the time is over. */
async function waitUntil(
  clock: Clock,
  limitMs: number,
  maxPauseMs: number,
  condition: () => Promise<boolean>,
): Promise<boolean> {
  const endsAtMs = clock.now() + limitMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, maxPauseMs)) {
    if (await condition()) return true;
    if (clock.now() >= endsAtMs) return false;
    await clock.sleep(pauseMs);
  }
}

/** A negative pid is a process group. A process that has just gone is fine. */
function send(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
