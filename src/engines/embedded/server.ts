/**
 * The embedded engine's program: `node server.ts LAUNCH_FILE` serves one GGUF model over HTTP until it is told to stop.
 * It listens before the model is loaded, so that loading can be watched. Says what stopped it in one line on stderr that
 * starts with `berth-engine: error:`, and never prints prompts, answers or its secret.
 */
import { readFileSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import type { Endpoint } from "../../core/instance.ts";
import { type EngineArguments, parseEngineArguments } from "./arguments.ts";
import { RequestError } from "./errors.ts";
import { createEngineServer, type PostRoute, type Routes } from "./http.ts";
import { type LaunchFile, parseLaunchFile } from "./launch.ts";
import type { Service } from "./service.ts";

/** How long requests in progress may go on after a polite signal. */
const drainMs = 5000;

type Loaded = { readonly service: Service; readonly post: Readonly<Record<string, PostRoute>> };
type State = { progress: number; loaded: Loaded | null; isStopping: boolean };

class LaunchError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

async function main(launchPath: string | undefined): Promise<void> {
  const launch = readLaunch(launchPath);
  const parsed = parseEngineArguments(launch.extraArgs);
  if (!parsed.ok) throw new LaunchError("bad_engine_args", parsed.reason);
  const state: State = { progress: 0, loaded: null, isStopping: false };
  const server = createEngineServer(launch.secret, routesOf(state), (error) =>
    say("defect", describe(error)),
  );
  await listen(server, launch.endpoint);
  stopOnSignals(server, state);
  state.loaded = await load(launch, parsed.value, state);
  process.stderr.write("berth-engine: ready\n");
}

function readLaunch(path: string | undefined): LaunchFile {
  if (path === undefined) throw new LaunchError("bad_launch_file", "Usage: server.ts LAUNCH_FILE.");
  try {
    return parseLaunchFile(readFileSync(path, "utf8"));
  } catch (error) {
    throw new LaunchError("bad_launch_file", describe(error));
  }
}

async function load(launch: LaunchFile, args: EngineArguments, state: State): Promise<Loaded> {
  // Loaded late: the server answers while these take their time.
  const [{ loadService, ArgumentError }, { answerChat }, { answerCompletion }, { Embeddings }, tokens] =
    await Promise.all([
      import("./service.ts"),
      import("./chat.ts"),
      import("./completion.ts"),
      import("./embeddings.ts"),
      import("./tokens.ts"),
    ]);
  const threads = args.threads ?? launch.threads;
  try {
    const service = await loadService(
      {
        modelPath: launch.modelPath,
        servedNames: launch.servedNames,
        slots: launch.slots,
        contextTokens: args.contextTokens,
        contextMemoryBytes: launch.contextMemoryBytes,
        threads: threads === 0 ? Math.max(1, availableParallelism() - 1) : threads,
        batching: {
          prefillTokens: args.prefillTokens ?? Number.POSITIVE_INFINITY,
          reusesPrompts: args.prefixCaching !== 0,
        },
      },
      (progress) => {
        state.progress = Math.max(state.progress, Math.min(1, progress));
      },
    );
    const embeddings = new Embeddings(service);
    const post: Record<string, PostRoute> = {
      "/v1/chat/completions": (body, caller, open) => answerChat(service, body, caller, open),
      "/v1/completions": (body, caller, open) => answerCompletion(service, body, caller, open),
      "/v1/embeddings": (body, caller) => embeddings.answer(body, caller),
      "/tokenize": (body) => tokens.answerTokenize(service, body),
      "/detokenize": (body) => tokens.answerDetokenize(service, body),
    };
    return { service, post };
  } catch (error) {
    if (error instanceof ArgumentError) throw new LaunchError("bad_engine_args", error.message);
    // Messages of the library name the file by its path, which is this machine's own matter.
    // A header that makes no sense trips the library itself; its own words would tell nobody anything.
    const text =
      error instanceof TypeError
        ? `${basename(launch.modelPath)} has a header that makes no sense`
        : describe(error).replaceAll(launch.modelPath, basename(launch.modelPath));
    throw new LaunchError(/memory/i.test(text) ? "out_of_memory" : "engine_refused_model", text);
  }
}

function routesOf(state: State): Routes {
  const whenLoaded =
    (path: string): PostRoute =>
    async (body, caller, open) => {
      if (state.isStopping) throw new RequestError("shutting_down", "This instance is stopping.");
      const route = state.loaded?.post[path];
      if (route === undefined) throw new RequestError("model_not_ready", "The model is still loading.");
      return await route(body, caller, open);
    };
  const paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"];
  return {
    get: { "/health": () => health(state), "/v1/models": () => listModels(state) },
    post: Object.fromEntries(paths.map((path) => [path, whenLoaded(path)])),
  };
}

function health(state: State): { status: number; body: unknown } {
  if (state.loaded === null) return { status: 503, body: { state: "loading", progress: state.progress } };
  const { capacity, batcher } = state.loaded.service;
  return { status: 200, body: { state: "ready", ...capacity, busy: batcher?.busy ?? 0 } };
}

function listModels(state: State): { status: number; body: unknown } {
  if (state.loaded === null) {
    return { status: 503, body: new RequestError("model_not_ready", "The model is still loading.").body() };
  }
  const { servedNames, startedAtS, capacity } = state.loaded.service;
  const data = servedNames.map((id) => ({
    id,
    object: "model",
    created: startedAtS,
    owned_by: "berth",
    max_model_len: capacity.contextTokens,
  }));
  return { status: 200, body: { object: "list", data } };
}

function listen(server: Server, endpoint: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new LaunchError("internal", `Cannot listen: ${describe(error)}`)));
    if (endpoint.kind === "tcp") server.listen(endpoint.port, endpoint.host, resolve);
    else {
      // What is left of a predecessor of the same instance; two never run at once.
      rmSync(endpoint.path, { force: true });
      server.listen(endpoint.path, resolve);
    }
  });
}

/** The first signal lets requests finish for a while; the second ends the process at once. */
function stopOnSignals(server: Server, state: State): void {
  const stop = () => {
    if (state.isStopping) process.kill(process.pid, "SIGKILL");
    state.isStopping = true;
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), drainMs).unref();
    // Closed connections cancel their requests; a decode step that does not end must not keep the process.
    setTimeout(() => process.exit(0), drainMs + 1000).unref();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

/** An error in one line, bounded. */
function describe(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").trim().slice(0, 500);
}

function say(code: string, sentence: string): void {
  process.stderr.write(`berth-engine: error: ${code}: ${sentence}\n`);
}

try {
  await main(process.argv[2]);
} catch (error) {
  say(error instanceof LaunchError ? error.code : "internal", describe(error));
  process.exit(1);
}
