/**
 * What bounds an engine's process beside its walls: the kernel ends it before Berth when the machine's memory runs out, and it
 * has a limit of its own where one is set. Linux; a POSIX shell does it and becomes the engine. Pure.
 */
import type { Launch } from "../../ports/engine.ts";

export type Bounds = {
  /** `cgroup.procs` of the group that it becomes a member of, whose limit is set already; null for none. */
  readonly groupFile: string | null;
  /** Bytes of private memory that it may map to write, whether it touches them or not; null for any number. */
  readonly dataBytes: number | null;
};

/**
 * Everything in it is constant; paths and numbers arrive as "$1", "$2", … and are never read as text of the script. Children
 * inherit all three. With half of the highest score, an engine goes before anything that has the usual one, whatever its size.
 */
const script = [
  "echo 500 > /proc/self/oom_score_adj",
  '[ -z "$1" ] || echo 0 > "$1"',
  '[ -z "$2" ] || ulimit -d "$2"',
  "shift 2",
  'exec "$@"',
].join("; ");

/** The launch's command within these bounds. */
export function bindEngine(
  { command, args }: Pick<Launch, "command" | "args">,
  { groupFile, dataBytes }: Bounds,
): { command: string; args: string[] } {
  const kibibytes = dataBytes === null ? "" : String(Math.ceil(dataBytes / 1024));
  return {
    command: "/bin/sh",
    args: ["-ec", script, "berth-engine", groupFile ?? "", kibibytes, command, ...args],
  };
}

/** Programs map private memory that they never touch: stacks of threads, and heaps that could grow. */
const untouchedBytes = 2 ** 30;

/** The limit of what is mapped that stands in for one of what is used, where the kernel cannot be asked to count that. */
export function dataLimit(memoryBytes: number): number {
  return memoryBytes + untouchedBytes;
}
