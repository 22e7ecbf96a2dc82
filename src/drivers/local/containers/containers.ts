/**
 * Engines in containers of Docker or Podman. The process that Berth keeps is the runtime's own client in the foreground: it lives
 * apart from Berth as any engine does, prints what the engine prints, hands on the signal to end, and ends as the engine ended. What is
 * more about a container is here: whether the runtime can be used, images, and that no container is left when its client is gone.
 */
import { createHash } from "node:crypto";
import { type Failure, FailureError } from "../../../core/failure.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { Launch } from "../../../ports/engine.ts";
import type { Walled } from "../isolation.ts";
import { engineUser, furnish, type Quarters } from "../quarters.ts";
import { callRuntime, clientEnvironment } from "./call.ts";
import { explainRuntime } from "./failures.ts";
import { createPuller, type Layers } from "./pull.ts";
import { type Runtime, type RuntimeUsers, runArgs } from "./run-args.ts";

/** A container as it is written down: enough to end it by, whatever runtime the settings name later. */
export type ContainerName = { readonly program: string; readonly name: string; readonly image: string };

export type RuntimeState =
  | { readonly ok: true; readonly runtime: Runtime; readonly version: string }
  | { readonly ok: false; readonly failure: Failure };

export type Containers = {
  readonly program: string;
  /** Asks the runtime; what is found is remembered, what fails is asked again. Never rejects. */
  state(): Promise<RuntimeState>;
  /** Null when the image is here, else why not. Rejects when `signal` is aborted. */
  fetchImage(image: string, onLayers: (layers: Layers) => void, signal: AbortSignal): Promise<Failure | null>;
  nameOf(instanceId: string, image: string): ContainerName;
  /** The launch as the client that runs it in a container. Throws FailureError where it cannot be run. */
  wrap(
    quarters: Quarters,
    of: {
      readonly gpus: readonly string[];
      readonly memoryBytes: number | null;
      readonly deploymentId: string;
    },
  ): Promise<Walled>;
  /** Ids of the instances of this Berth that have a container, also one that never ran. */
  list(): Promise<string[]>;
  /** The machine's number of its first process; null while it does not run. */
  firstPid(container: ContainerName): Promise<number | null>;
};

export type ContainersOptions = {
  /** The client's command, absolute. */
  readonly program: string;
  /** `$BERTH_HOME`, absolute. */
  readonly home: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Longest time that fetching an image may take. */
  readonly imageLimitMs: number;
};

const labels = { home: "io.berth.home", instance: "io.berth.instance", deployment: "io.berth.deployment" };

export function createContainers(options: ContainersOptions): Containers {
  const { program, home, environment } = options;
  const puller = createPuller({ program, environment, limitMs: options.imageLimitMs, whyAbsent });
  // Two Berths on one machine have the same runtime, and may give the same ids.
  const prefix = `berth-${createHash("sha256").update(home).digest("hex").slice(0, 8)}-`;
  let known: RuntimeState | null = null;
  const ask = (args: readonly string[]) => callRuntime(program, args, environment);

  async function state(): Promise<RuntimeState> {
    if (known?.ok !== true) known = await askState(ask);
    return known;
  }

  async function whyAbsent(image: string): Promise<Failure | null> {
    const { isOk, said } = await ask(["image", "inspect", "--format", "{{.Id}}", image]);
    return isOk ? null : explainRuntime(image, said);
  }

  return {
    program,
    state,
    async fetchImage(image, onLayers, signal) {
      const runtime = await state();
      if (!runtime.ok) return runtime.failure;
      return await puller.pull(image, onLayers, signal);
    },
    nameOf: (instanceId, image) => ({ program, name: prefix + instanceId, image }),
    async wrap(quarters, { gpus, memoryBytes, deploymentId }) {
      const { launch, instanceId, folder } = quarters;
      const { image } = launch;
      if (image === undefined) throw new Error("only what is in an image can be run in a container");
      const runtime = await state();
      if (!runtime.ok) throw new FailureError(runtime.failure);
      const absent = await whyAbsent(image);
      if (absent !== null) throw new FailureError(absent);
      const user = engineUser(instanceId);
      const furnished = await furnish(quarters, { home, user });
      const args = runArgs({
        ...{ runtime: runtime.runtime, name: prefix + instanceId, image, launch, furnished, folder },
        ...{ gpus, memoryBytes },
        user: { uid: user ?? process.getuid?.() ?? 0, gid: user ?? process.getgid?.() ?? 0 },
        labels: { [labels.home]: home, [labels.instance]: instanceId, [labels.deployment]: deploymentId },
      });
      const client: Launch = { command: program, args, env: {}, files: launch.files };
      return { launch: client, env: clientEnvironment(environment) };
    },
    async list() {
      const filter = ["--filter", `label=${labels.home}=${home}`];
      const answer = await ask(["ps", "--all", ...filter, "--format", "{{.Names}}"]);
      if (!answer.isOk) throw new FailureError(explainRuntime("", answer.said));
      const names = answer.stdout.split("\n").map((line) => line.trim());
      return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    },
    async firstPid(container) {
      const args = ["container", "inspect", "--format", "{{.State.Pid}}", container.name];
      const { isOk, stdout } = await callRuntime(container.program, args, environment);
      const pid = Number(stdout.trim());
      return isOk && pid > 1 ? pid : null;
    },
  };
}

type Ask = (args: readonly string[]) => ReturnType<typeof callRuntime>;

/** `docker` may be Podman under another name, so that the program is asked what it is. */
async function askState(ask: Ask): Promise<RuntimeState> {
  const about = await ask(["--version"]);
  if (!about.isOk) return { ok: false, failure: explainRuntime("", about.said) };
  const [, name = "", version = ""] = /(Docker|podman) version ([\w.+~-]{1,40})/.exec(about.stdout) ?? [];
  if (name === "podman") {
    const info = await ask(["info", "--format", "{{.Host.Security.Rootless}}"]);
    if (!info.isOk) return { ok: false, failure: explainRuntime("", info.said) };
    const users: RuntimeUsers = info.stdout.trim() === "true" ? "rootless-podman" : "same";
    return { ok: true, runtime: { kind: "podman", users }, version };
  }
  if (name !== "Docker") {
    return { ok: false, failure: explainRuntime("", "it says neither that it is Docker nor Podman") };
  }
  // Without a daemon older clients print an empty answer and call that a success.
  const info = await ask(["info", "--format", "{{json .SecurityOptions}}"]);
  if (!info.isOk || info.stdout.trim() === "null") {
    return { ok: false, failure: explainRuntime("", info.said || "Cannot connect to the Docker daemon") };
  }
  return { ok: true, runtime: { kind: "docker", users: dockerUsers(info.stdout) }, version };
}

function dockerUsers(securityOptions: string): RuntimeUsers {
  if (/name=rootless/.test(securityOptions)) return "rootless-docker";
  return /name=userns/.test(securityOptions) ? "remapped" : "same";
}

const goneWithinMs = 20_000;

/** Ends a container at once and forgets it. Resolves when there is none of that name; rejects when that cannot be had. */
export async function removeContainer(
  container: ContainerName,
  { environment, clock }: { readonly environment: NodeJS.ProcessEnv; readonly clock: Clock },
): Promise<void> {
  const endsAtMs = clock.now() + goneWithinMs;
  for (let pauseMs = 50; ; pauseMs = Math.min(1000, pauseMs * 2)) {
    const { isOk, said } = await callRuntime(
      container.program,
      ["rm", "--force", container.name],
      environment,
    );
    // Older clients call it a failure that there is none.
    if (isOk || /[Nn]o such container|no container with/.test(said)) return;
    // Its client has ended, or is ending, and the runtime is at it already.
    const isUnderWay = /already in progress|is being removed/.test(said);
    if (!isUnderWay || clock.now() > endsAtMs) {
      throw new FailureError(explainRuntime(container.image, said));
    }
    await clock.sleep(pauseMs);
  }
}
