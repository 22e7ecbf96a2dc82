/**
 * For tests only: a small real HTTP server in the place of a Berth, and a run of the command line against it with
 * streams in memory and a clock that does not wait. Owns no knowledge of the API beyond a sample of each answer.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { DeploymentOut } from "../schema/deploy.ts";
import type { CliDeps, LocalOptions } from "./context.ts";
import { createCli } from "./program.ts";

export type Received = {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
};

export type Reply = {
  readonly status?: number;
  readonly json?: unknown;
  readonly text?: string;
  /** Pieces sent one after another; a thrown error cuts the connection. */
  readonly stream?: AsyncIterable<string>;
};

export type StandIn = {
  readonly url: string;
  readonly received: Received[];
  /** `route` is "METHOD /path" without a query; a later answer for it replaces an earlier one. */
  answer(route: string, reply: (request: Received) => Reply): void;
  close(): Promise<void>;
};

export async function startStandIn(): Promise<StandIn> {
  const received: Received[] = [];
  const routes = new Map<string, (request: Received) => Reply>();
  const server = createServer((request, response) => {
    const serve = async () => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const text = Buffer.concat(pieces).toString("utf8");
      const { method = "", url: path = "", headers } = request;
      const one: Received = { method, path, headers, body: text === "" ? undefined : JSON.parse(text) };
      received.push(one);
      const reply = routes.get(`${method} ${path.split("?")[0]}`)?.(one) ?? {
        status: 404,
        json: { error: "There is no such thing." },
      };
      response.writeHead(reply.status ?? 200);
      if (reply.stream !== undefined) for await (const piece of reply.stream) response.write(piece);
      response.end(reply.text ?? (reply.json === undefined ? "" : JSON.stringify(reply.json)));
    };
    serve().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answer: (route, reply) => void routes.set(route, reply),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type RunOptions = {
  readonly env?: Record<string, string>;
  /** Text on standard input, which is no terminal then. */
  readonly input?: string;
  /** True makes all three streams terminals. */
  readonly isTty?: boolean;
  /** Called before every wait with its number, from 1; `interrupt` is Ctrl-C, `type` is what a person types. */
  readonly onWait?: (count: number, keys: Keys) => void;
  /** Called with all of standard output or standard error whenever there is more. */
  readonly onOutput?: (stdout: string, stderr: string, keys: Keys) => void;
};

export type Keys = { readonly interrupt: () => void; readonly type: (text: string) => void };

export type Outcome = {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly served: readonly LocalOptions[];
  readonly ended: readonly LocalOptions[];
};

/** Runs `berth ...argv` in this process, with a home folder of its own. */
export async function runCli(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const home = await mkdtemp(join(tmpdir(), "berth-cli-"));
  const isTTY = options.isTty === true;
  const texts = { stdout: "", stderr: "" };
  const typed = new PassThrough();
  const listeners = new Set<() => void>();
  const keys: Keys = {
    interrupt: () => {
      for (const listener of listeners) listener();
    },
    // As from a real terminal: never while something is being written.
    type: (text) => void setImmediate(() => typed.write(text)),
  };
  const output = (name: "stdout" | "stderr") => {
    const stream = new PassThrough();
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      texts[name] += text;
      options.onOutput?.(texts.stdout, texts.stderr, keys);
    });
    return Object.assign(stream, { isTTY, columns: 120 });
  };
  const served: LocalOptions[] = [];
  const ended: LocalOptions[] = [];
  const stdin = options.input === undefined && isTTY ? typed : Readable.from([options.input ?? ""]);
  const streams = { stdout: output("stdout"), stderr: output("stderr") };
  const deps: CliDeps = {
    env: { HOME: home, ...options.env },
    stdin: Object.assign(stdin, { isTTY: isTTY && options.input === undefined }),
    ...streams,
    fetch,
    clock: createTestClock((count) => options.onWait?.(count, keys)),
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    serve: async (given) => served.push(given) - 1,
    down: async (given) => ended.push(given) - 1,
    engines: async () => 0,
    simulate: async () => 0,
    backup: async (given) => ended.push(given) - 1,
    restore: async (given) => ended.push(given) - 1,
    version: "1.2.3",
  };
  try {
    const code = await createCli(deps).run(argv);
    for (const stream of [streams.stdout, streams.stderr]) {
      const isRead = new Promise((resolve) => stream.once("end", resolve));
      stream.end();
      await isRead;
    }
    return { code, ...texts, served, ended };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** Waiting moves the time on and lets everything else run once. */
function createTestClock(onWait: (count: number) => void): CliDeps["clock"] {
  let nowMs = Date.UTC(2026, 10, 1, 12, 0, 0);
  let waits = 0;
  return {
    now: () => nowMs,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      waits += 1;
      onWait(waits);
      nowMs += ms;
      await nextTurn();
      signal?.throwIfAborted();
    },
  };
}

/** A deployment as a Berth reports it. */
export function sampleDeployment(change: Partial<DeploymentOut> = {}): DeploymentOut {
  return {
    deploy_id: "aaaabbbbccccdddd",
    model_name: "ann/qwen",
    version: "0123456789abcdef0123456789abcdef01234567",
    task: "text-generation",
    status: "running",
    fail_reason: "",
    created_at: "2026-11-01T11:57:00+00:00",
    updated_at: "2026-11-01T11:59:00+00:00",
    type: "llm",
    instances: { running: 1, pending: 0, warming: 0 },
    config: {
      gpu: "other",
      num_gpus: 1,
      max_batch_size: 96,
      weights: { repo: "own/Qwen-GGUF", revision: null, token: null },
      base_model: null,
      container_image: null,
    },
    settings: { min_instances: 1, max_instances: 1, inactive_shutdown: null },
    standard_args: {},
    extra_args: [],
    update_error: null,
    rollout: null,
    ...change,
  };
}
