/**
 * Starts the embedded engine's server program on a model, for tests: a real process on a Unix socket in a folder of its
 * own. Waits for conditions, never for time; what was started is stopped by `stop`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const program = join(import.meta.dirname, "../../src/engines/embedded/server.ts");

export type Reply = { status: number; body: unknown };

export type RunningEngine = {
  readonly child: ChildProcess;
  readonly socketPath: string;
  readonly secret: string;
  /** Lines of stderr so far. */
  readonly lines: readonly string[];
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  get(path: string): Promise<Reply>;
  post(path: string, body: unknown, options?: { scope?: string; signal?: AbortSignal }): Promise<Reply>;
  /** Events of a stream as they come; the word [DONE] is checked and left out. */
  stream(
    path: string,
    body: unknown,
    options?: { scope?: string; signal?: AbortSignal },
  ): AsyncGenerator<unknown>;
  /** The response as it is, unread. */
  open(
    path: string,
    text: string,
    headers?: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<IncomingMessage>;
  stop(): Promise<void>;
};

export type EngineStart = {
  /** The file's bytes, or a path to one. */
  model: Buffer | string;
  /** Overrides of the launch file's fields. */
  launch?: Record<string, unknown>;
};

/** Starts the program; does not wait until it is ready. */
export async function startEngine(start: EngineStart): Promise<RunningEngine> {
  const folder = await mkdtemp(join(tmpdir(), "berth-engine-"));
  const socketPath = join(folder, "s.sock");
  const modelPath = typeof start.model === "string" ? start.model : join(folder, "model.gguf");
  if (typeof start.model !== "string") await writeFile(modelPath, start.model);
  const secret = "secret-of-this-test";
  const launch = {
    modelPath,
    servedNames: ["ann/tiny", "tiny"],
    slots: 4,
    endpoint: { kind: "unix", path: socketPath },
    secret,
    contextMemoryBytes: 64 * 1024 * 1024,
    threads: 1,
    extraArgs: [],
    ...start.launch,
  };
  const launchPath = join(folder, "launch.json");
  await writeFile(launchPath, JSON.stringify(launch), { mode: 0o600 });
  const child = spawn(process.execPath, ["--expose-gc", program, launchPath], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  // A test that fails half-way must not leave it behind.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  const lines: string[] = [];
  if (child.stderr !== null) createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
  const exited = once(child, "close").then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }));
  return {
    child,
    socketPath,
    secret,
    lines,
    exited,
    ...createClient(socketPath, secret),
    async stop() {
      child.kill("SIGKILL");
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Starts and waits until the model is loaded; throws with the program's last words when it ends instead. */
export async function startReadyEngine(start: EngineStart): Promise<RunningEngine> {
  const engine = await startEngine(start);
  let hasEnded = false;
  const ended = engine.exited.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    const reply = await Promise.race([engine.get("/health").catch(() => null), ended]);
    if (reply?.status === 200) return engine;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`The engine ended: ${engine.lines.join("\n")}`);
}

function createClient(
  socketPath: string,
  secret: string,
): Pick<RunningEngine, "get" | "post" | "stream" | "open"> {
  const send = (
    method: string,
    path: string,
    text: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request({
        socketPath,
        method,
        path,
        agent: false,
        headers: { authorization: `Bearer ${secret}`, ...headers },
        ...(signal === undefined ? {} : { signal }),
      });
      outgoing.on("error", reject);
      outgoing.on("response", resolve);
      outgoing.end(text);
    });
  const scopeHeader = (scope: string | undefined) => ({ "x-berth-scope": scope ?? "account-1" });
  const read = async (response: IncomingMessage): Promise<Reply> => {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString("utf8")) };
  };
  return {
    get: async (path) => await read(await send("GET", path, "", {})),
    post: async (path, body, options = {}) =>
      await read(await send("POST", path, JSON.stringify(body), scopeHeader(options.scope), options.signal)),
    open: (path, text, headers = {}, signal) => send("POST", path, text, headers, signal),
    async *stream(path, body, options = {}) {
      const text = JSON.stringify({ ...(body as object), stream: true });
      const response = await send("POST", path, text, scopeHeader(options.scope), options.signal);
      if (response.statusCode !== 200) throw new Error(JSON.stringify((await read(response)).body));
      let isDone = false;
      for await (const line of createInterface({ input: response })) {
        if (line === "") continue;
        if (!line.startsWith("data: ") || isDone) throw new Error(`Not an event: ${line}`);
        if (line === "data: [DONE]") isDone = true;
        else yield JSON.parse(line.slice("data: ".length));
      }
      if (!isDone) throw new Error("The stream ended without [DONE].");
    },
  };
}
