/**
 * A gateway's slots go over to its successor while both serve: from one moment on the successor decides for both, and
 * counts as taken what the older one has in flight. A line of JSON each way, on a Unix socket whose end, however it comes,
 * gives everything back: to the successor the slots of the older one, to the older one its own line. Must not decide who
 * gets a slot (gate.ts).
 */
import { connect, createServer, type Socket } from "node:net";
import type { z } from "zod";
import { HttpError } from "../schema/errors.ts";
import {
  type HandoverAnswer,
  type HandoverQuestion,
  handoverAnswer,
  handoverQuestion,
} from "../schema/handover.ts";
import type { Admission } from "./admission.ts";
import { type HeldSlot, OwnerGone, type SlotOwner } from "./gate.ts";
import type { Log } from "./options.ts";

const maxLineChars = 4 * 1024 * 1024;

/** Calls back with each line; what is none of the protocol ends the connection, and so the hand-over. */
function readLines<T>(socket: Socket, schema: z.ZodType<T>, log: Log, onLine: (line: T) => void): void {
  let pending = "";
  socket.setEncoding("utf8");
  socket.on("error", () => undefined); // "close" follows, and is what counts
  socket.on("data", (text: string) => {
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    try {
      if (pending.length > maxLineChars) throw new Error("a line is too long");
      for (const line of lines) onLine(schema.parse(JSON.parse(line)));
    } catch (error) {
      log("error", "the hand-over between two gateways broke off", { error: String(error) });
      socket.destroy();
    }
  });
}

export type Takeover = {
  /** Resolves when all that the older gateway has in flight is counted here. */
  readonly begun: Promise<void>;
  /** Nobody will come, or nobody else. */
  close(): void;
};

/** The side of the successor: waits at `path` for the older gateway. */
export async function openTakeover(path: string, admission: Admission, log: Log): Promise<Takeover> {
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    server.close();
    serveOlder(socket, admission, log, resolve);
  });
  await new Promise<void>((done, reject) => {
    server.once("error", reject);
    server.listen(path, () => done());
  });
  return { begun, close: () => server.close() };
}

function serveOlder(socket: Socket, admission: Admission, log: Log, onBegun: () => void): void {
  const held = new Map<number, HeldSlot>();
  const asking = new Map<number, AbortController>();
  const answer = (line: HandoverAnswer) => socket.write(`${JSON.stringify(line)}\n`);

  async function ask(key: number, { deploymentId, bid }: HandoverQuestion & { type: "ask" }): Promise<void> {
    const abort = new AbortController();
    asking.set(key, abort);
    try {
      const lease = await admission.acquireFor(deploymentId, bid, abort.signal);
      if (abort.signal.aborted) {
        lease.release();
        return;
      }
      held.set(key, lease);
      answer({ type: "grant", key, instance: lease.instance });
    } catch (error) {
      if (abort.signal.aborted) return;
      const { code, message, retryAfterS } =
        error instanceof HttpError ? error : new HttpError("internal", "Something went wrong inside Berth.");
      answer({ type: "refuse", key, code, message, retryAfterS });
    } finally {
      asking.delete(key);
    }
  }

  function release(key: number, used: number | null, pauseMs: number): void {
    const slot = held.get(key);
    held.delete(key);
    if (pauseMs > 0) slot?.pause(pauseMs);
    if (used !== null) slot?.served(used);
    slot?.release();
  }

  readLines(socket, handoverQuestion, log, (line) => {
    switch (line.type) {
      case "hold":
        held.set(line.key, admission.holdFor(line.deploymentId, line.claim, line.instanceId));
        return;
      case "ask":
        void ask(line.key, line);
        return;
      case "leave":
        asking.get(line.key)?.abort(new Error("it does not wait any longer"));
        release(line.key, 0, 0);
        return;
      case "release":
        release(line.key, line.used, line.pauseMs);
        return;
      case "over":
        onBegun();
    }
  });
  socket.on("close", () => {
    for (const abort of asking.values()) abort.abort(new Error("the older gateway has ended"));
    for (const key of [...held.keys()]) release(key, null, 0);
  });
}

type Asking = {
  grant(granted: Awaited<ReturnType<SlotOwner["ask"]>>): void;
  fail(error: unknown): void;
};

/**
 * The side of the older gateway: resolves when its slots are the successor's. When that one ends, they are its own again.
 * Rejects when nobody is at `path`.
 */
export async function handOver(path: string, admission: Admission, log: Log): Promise<void> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", resolve);
  });
  const asking = new Map<number, Asking>();
  let keys = 0;
  const say = (line: HandoverQuestion) => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  };
  const shareOf = (key: number) => ({
    release: (used: number | null, pauseMs: number) => say({ type: "release", key, used, pauseMs }),
  });
  const owner: SlotOwner = {
    hold(deploymentId, claim, instanceId) {
      keys += 1;
      say({ type: "hold", key: keys, deploymentId, instanceId, claim });
      return shareOf(keys);
    },
    ask(deploymentId, bid, signal) {
      keys += 1;
      const key = keys;
      return new Promise((resolve, reject) => {
        const settle = () => {
          asking.delete(key);
          signal.removeEventListener("abort", leave);
        };
        const leave = () => {
          settle();
          say({ type: "leave", key });
          reject(signal.reason);
        };
        signal.addEventListener("abort", leave);
        asking.set(key, {
          grant: (granted) => {
            settle();
            resolve(granted);
          },
          fail: (error) => {
            settle();
            reject(error);
          },
        });
        say({ type: "ask", key, deploymentId, bid });
      });
    },
  };
  readLines(socket, handoverAnswer, log, (line) => {
    const one = asking.get(line.key);
    if (line.type === "grant") one?.grant({ instance: line.instance, share: shareOf(line.key) });
    else
      one?.fail(
        new HttpError(
          line.code,
          line.message,
          line.retryAfterS === null ? {} : { retryAfterS: line.retryAfterS },
        ),
      );
  });
  socket.on("close", () => {
    // Those who were granted a slot just now must have noted it before slots are given out here again.
    setImmediate(() => {
      admission.setOwner(null);
      for (const one of [...asking.values()]) one.fail(new OwnerGone("the owner of the slots has ended"));
    });
  });
  admission.setOwner(owner);
  say({ type: "over" });
}
