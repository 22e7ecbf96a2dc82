/**
 * Brings files in threads of their own, so that TLS, hashing and writing never hold up whoever serves requests in this
 * one. Owns the threads and the messages with them; small files, for which a thread is not worth it, are brought here.
 * Must not know what a transfer does.
 */
import { Worker } from "node:worker_threads";
import type { Failure } from "../core/failure.ts";
import { HubError } from "./failures.ts";
import { type ConnectionPool, createConnectionPool } from "./pool.ts";
import {
  type RunTransfer,
  type Transfer,
  type TransferPorts,
  type TransferSettings,
  transferRunner,
} from "./transfer.ts";

export type ToThread =
  | { readonly kind: "start"; readonly id: number; readonly transfer: Transfer; readonly width: number }
  | { readonly kind: "width"; readonly id: number; readonly width: number }
  | { readonly kind: "abort"; readonly id: number };

export type FromThread =
  | { readonly kind: "bytes"; readonly id: number; readonly bytesHere: number; readonly received: number }
  | { readonly kind: "want"; readonly id: number; readonly lanes: number }
  | { readonly kind: "pushBack"; readonly id: number }
  | { readonly kind: "end"; readonly id: number; readonly end: TransferEnd };

export type TransferEnd =
  | { readonly kind: "done" }
  | { readonly kind: "aborted" }
  | { readonly kind: "failed"; readonly failure: Failure }
  | { readonly kind: "defect"; readonly message: string };

export type CrewOptions = {
  /** 0: everything is brought in this thread, through `ports`; threads have the real clock and disk. */
  readonly threads: number;
  readonly maxConnections: number;
  readonly settings: TransferSettings;
  readonly ports: TransferPorts;
  /** A thread without work ends after this, milliseconds. */
  readonly idleEndMs?: number;
};

export type Crew = {
  /** Rejects with HubError when the file cannot be brought, with the signal's reason when aborted. */
  run(
    transfer: Transfer,
    onBytes: (bytesHere: number, received: number) => void,
    signal: AbortSignal,
  ): Promise<void>;
};

/** Up to this size a file is brought in this thread, bytes. */
const smallFileBytes = 1024 * 1024;
const defaultIdleEndMs = 10_000;

type Joined = ReturnType<ConnectionPool["join"]>;
type Running = {
  readonly joined: Joined;
  readonly onBytes: (bytesHere: number, received: number) => void;
  readonly end: (end: TransferEnd) => void;
};

export function createCrew(options: CrewOptions): Crew {
  const pool = createConnectionPool(options.maxConnections);
  const runHere: RunTransfer = transferRunner(options.settings, options.ports);
  const threads: Thread[] = [];
  let nextId = 1;

  function pick(): Thread {
    const idle = threads.find(({ size }) => size === 0);
    if (idle !== undefined) return idle;
    if (threads.length < options.threads) {
      const thread: Thread = new Thread(options.settings, options.idleEndMs ?? defaultIdleEndMs, () => {
        const index = threads.indexOf(thread);
        if (index >= 0) threads.splice(index, 1);
      });
      threads.push(thread);
      return thread;
    }
    const [least] = threads.toSorted((a, b) => a.size - b.size);
    if (least === undefined) throw new Error("a crew without threads was asked for one");
    return least;
  }

  return {
    async run(transfer, onBytes, signal) {
      signal.throwIfAborted();
      const joined = pool.join();
      const onNews = (bytesHere: number, received: number) => {
        joined.note(received);
        onBytes(bytesHere, received);
      };
      try {
        if (options.threads === 0 || transfer.file.bytes <= smallFileBytes) {
          return await runHere(transfer, joined.share, onNews, signal);
        }
        const id = nextId;
        nextId += 1;
        const end = await pick().run(id, transfer, joined, onNews, signal);
        if (end.kind === "failed") throw new HubError(end.failure);
        if (end.kind === "defect") throw new Error(end.message);
        if (end.kind === "aborted") signal.throwIfAborted();
      } finally {
        joined.leave();
      }
    },
  };
}

/** One thread and the transfers it has been given. */
class Thread {
  readonly #running = new Map<number, Running>();
  readonly #worker: Worker;
  readonly #idleEndMs: number;
  readonly #onEnd: () => void;
  #idle: NodeJS.Timeout | null = null;

  /** @param onEnd from now on it takes nothing more; may be called several times */
  constructor(settings: TransferSettings, idleEndMs: number, onEnd: () => void) {
    this.#idleEndMs = idleEndMs;
    this.#onEnd = onEnd;
    this.#worker = new Worker(new URL("./crew-thread.ts", import.meta.url), {
      workerData: settings,
      name: "hub",
    });
    this.#worker.on("message", (message: FromThread) => this.#hear(message));
    this.#worker.on("error", (error) => {
      onEnd();
      this.#fail(error);
    });
    this.#worker.on("exit", () => {
      onEnd();
      this.#fail(new Error("the thread that downloads ended"));
    });
  }

  get size(): number {
    return this.#running.size;
  }

  async run(
    id: number,
    transfer: Transfer,
    joined: Joined,
    onBytes: Running["onBytes"],
    signal: AbortSignal,
  ): Promise<TransferEnd> {
    const { promise, resolve } = Promise.withResolvers<TransferEnd>();
    this.#running.set(id, { joined, onBytes, end: resolve });
    this.#worker.ref();
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    const abort = () => this.#tell({ kind: "abort", id });
    const unwatch = joined.share.watch(() => this.#tell({ kind: "width", id, width: joined.share.width() }));
    signal.addEventListener("abort", abort, { once: true });
    try {
      this.#tell({ kind: "start", id, transfer, width: joined.share.width() });
      return await promise;
    } finally {
      signal.removeEventListener("abort", abort);
      unwatch();
      this.#running.delete(id);
      if (this.#running.size === 0) this.#rest();
    }
  }

  /** An idle thread does not keep the process alive, and is given up after a while. */
  #rest(): void {
    this.#worker.unref();
    this.#idle = setTimeout(() => {
      // It takes a moment to end: nobody may give it something meanwhile.
      this.#onEnd();
      void this.#worker.terminate();
    }, this.#idleEndMs).unref();
  }

  #tell(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromThread): void {
    const running = this.#running.get(message.id);
    if (running === undefined) return;
    if (message.kind === "bytes") running.onBytes(message.bytesHere, message.received);
    if (message.kind === "want") running.joined.share.want(message.lanes);
    if (message.kind === "pushBack") running.joined.share.pushBack();
    if (message.kind === "end") running.end(message.end);
  }

  #fail(error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    for (const { end } of this.#running.values()) end({ kind: "defect", message });
  }
}
