/**
 * What runs in a thread of the crew: takes transfers by message, brings them, reports bytes and the end. Started by
 * `crew.ts` alone. Must not decide anything.
 */
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { setTimeout as sleepFor } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { Clock } from "../ports/clock.ts";
import { realDisk } from "./cache.ts";
import type { FromThread, ToThread, TransferEnd } from "./crew.ts";
import { HubError } from "./failures.ts";
import type { Share } from "./lanes.ts";
import { type Transfer, type TransferSettings, transferRunner } from "./transfer.ts";

if (parentPort === null) throw new Error("crew-thread.ts runs as a thread of crew.ts");
const port = parentPort;

const clock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    await sleepFor(ms, undefined, signal === undefined ? {} : { signal });
  },
};

/** A thread's share while it runs, and how to end it. */
type Running = { readonly abort: AbortController; width: number; readonly listeners: Set<() => void> };

const running = new Map<number, Running>();
const run = transferRunner(workerData as TransferSettings, { clock, random: Math.random, disk: realDisk });

yieldToOthers();
port.on("message", (message: ToThread) => {
  if (message.kind === "start") return void bring(message.id, message.transfer, message.width);
  const found = running.get(message.id);
  if (found === undefined) return;
  if (message.kind === "abort") found.abort.abort(new Error("aborted"));
  else {
    found.width = message.width;
    for (const listener of found.listeners) listener();
  }
});

/** Never rejects: every end is a message. */
async function bring(id: number, transfer: Transfer, width: number): Promise<void> {
  const mine: Running = { abort: new AbortController(), width, listeners: new Set() };
  running.set(id, mine);
  const { signal } = mine.abort;
  const onBytes = (bytesHere: number, received: number) => tell({ kind: "bytes", id, bytesHere, received });
  const end = await run(transfer, shareOf(id, mine), onBytes, signal).then(
    (): TransferEnd => ({ kind: "done" }),
    (error: unknown) => endOf(error, signal),
  );
  running.delete(id);
  tell({ kind: "end", id, end });
}

function endOf(error: unknown, signal: AbortSignal): TransferEnd {
  if (signal.aborted) return { kind: "aborted" };
  if (error instanceof HubError) return { kind: "failed", failure: error.failure };
  return { kind: "defect", message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

function shareOf(id: number, mine: Running): Share {
  return {
    width: () => mine.width,
    watch(listener) {
      mine.listeners.add(listener);
      return () => void mine.listeners.delete(listener);
    },
    want: (lanes) => tell({ kind: "want", id, lanes }),
    pushBack: () => tell({ kind: "pushBack", id }),
  };
}

function tell(message: FromThread): void {
  port.postMessage(message);
}

/** Linux has a priority for each thread: requests come first, bytes take what is left. */
function yieldToOthers(): void {
  try {
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    if (Number.isInteger(thread)) setPriority(thread, 5);
  } catch {
    // Another system, or one without /proc: equal priority is right too, only less kind.
  }
}
