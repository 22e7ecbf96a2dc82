/**
 * Fetching an image: once however many want it, told layer by layer, given up when nobody wants it any more or the time is over. The
 * runtime keeps what it has of an image and goes on there the next time. Owns no image: removing them is the administrator's.
 */
import { spawn } from "node:child_process";
import { type Failure, failure } from "../../../core/failure.ts";
import { clientEnvironment } from "./call.ts";
import { explainPull } from "./failures.ts";

/** Layers of an image; `all` grows while the runtime finds out which there are. */
export type Layers = { readonly done: number; readonly all: number };

type Pull = {
  readonly outcome: Promise<Failure | null>;
  readonly stop: AbortController;
  readonly watchers: Set<(layers: Layers) => void>;
  /** Null until it is known that the image has to be fetched. */
  layers: Layers | null;
};

export type Puller = {
  /** Null when the image is here, else why not. Rejects with the signal's reason when that is aborted. */
  pull(image: string, onLayers: (layers: Layers) => void, signal: AbortSignal): Promise<Failure | null>;
};

export function createPuller(of: {
  readonly program: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly limitMs: number;
  /** Null when the image is on this machine; `image_missing` when it is not, else why that is not known. */
  whyAbsent(image: string): Promise<Failure | null>;
}): Puller {
  const pulls = new Map<string, Pull>();

  function begin(image: string): Pull {
    const stop = new AbortController();
    const watchers = new Set<(layers: Layers) => void>();
    const onLayers = (layers: Layers) => {
      pull.layers = layers;
      for (const watch of watchers) watch(layers);
    };
    // Looked for within: who asks a moment later must not find that it was absent, and fetch it a second time.
    const bring = async (): Promise<Failure | null> => {
      const absent = await of.whyAbsent(image);
      if (absent?.code !== "image_missing") return absent;
      onLayers({ done: 0, all: 0 });
      const failed = await runPull({ ...of, image, onLayers, signal: stop.signal });
      return failed ?? (await of.whyAbsent(image));
    };
    const outcome = bring().finally(() => {
      if (pulls.get(image) === pull) pulls.delete(image);
    });
    const pull: Pull = { outcome, stop, watchers, layers: null };
    pulls.set(image, pull);
    return pull;
  }

  return {
    async pull(image, onLayers, signal) {
      signal.throwIfAborted();
      const running = pulls.get(image);
      // One that was given up is ending; who comes meanwhile begins another.
      const pull = running === undefined || running.stop.signal.aborted ? begin(image) : running;
      const watch = (layers: Layers) => onLayers(layers);
      pull.watchers.add(watch);
      if (pull.layers !== null) watch(pull.layers);
      try {
        return await Promise.race([pull.outcome, rejectOn(signal)]);
      } finally {
        pull.watchers.delete(watch);
        if (pull.watchers.size === 0) pull.stop.abort();
      }
    },
  };
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

const endGraceMs = 5_000;

/** The end of what it says is enough to tell a cause. */
const maxSaidBytes = 65_536;

/** Never rejects. */
function runPull(of: {
  readonly program: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly image: string;
  readonly limitMs: number;
  readonly onLayers: (layers: Layers) => void;
  readonly signal: AbortSignal;
}): Promise<Failure | null> {
  const { image, limitMs } = of;
  const isLate = AbortSignal.timeout(limitMs);
  const child = spawn(of.program, ["pull", image], {
    ...{ stdio: ["ignore", "pipe", "pipe"], env: clientEnvironment(of.environment) },
    // Docker's daemon stops fetching when its client has gone.
    ...{ signal: AbortSignal.any([of.signal, isLate]), killSignal: "SIGTERM" },
  });
  let said = "";
  let rest = "";
  const layers = createLayerCount();
  const read = (chunk: Buffer) => {
    const text = chunk.toString("utf8");
    said = (said + text).slice(-maxSaidBytes);
    const lines = (rest + text).split(/[\r\n]+/);
    rest = (lines.pop() ?? "").slice(-maxSaidBytes);
    if (lines.filter((line) => layers.read(line)).length > 0) of.onLayers(layers.count());
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  return new Promise((resolve) => {
    child.once("error", (error) => {
      // A client that hangs does not end for being asked to.
      setTimeout(() => child.kill("SIGKILL"), endGraceMs).unref();
      if (isLate.aborted) resolve(lateFailure(image, limitMs));
      // Given up: nobody waits for the answer any more.
      else resolve(explainPull(image, of.signal.aborted ? "given up" : error.message));
    });
    child.once("close", (code) => resolve(code === 0 ? null : explainPull(image, said)));
  });
}

function lateFailure(image: string, limitMs: number): Failure {
  return failure(
    "image_unreachable",
    `The image ${image} was not here after ${limitMs / 1000} s, the limit.`,
    "What came of it is kept, and it goes on there; BERTH_IMAGE_S gives it more time.",
  );
}

/** Counts layers by the lines that Docker (`<id>: Pull complete`) and Podman (`Copying blob sha256:<id> …`) print to no terminal. */
export function createLayerCount(): { read(line: string): boolean; count(): Layers } {
  const isDone = new Map<string, boolean>();
  return {
    /** True where it changed something. */
    read(line) {
      const docker = /^([0-9a-f]{12}): (Pulling fs layer|Already exists|Pull complete)/.exec(line);
      const podman = /^Copying blob (?:sha256:)?([0-9a-f]{12})[0-9a-f]*\s*(done|skipped)?/.exec(line);
      const [, id, state] = docker ?? podman ?? [];
      if (id === undefined) return false;
      const done =
        state === "Already exists" || state === "Pull complete" || state === "done" || state === "skipped";
      if (isDone.get(id) === true || isDone.get(id) === done) return false;
      isDone.set(id, done);
      return true;
    },
    count: () => ({ done: [...isDone.values()].filter(Boolean).length, all: isDone.size }),
  };
}
