/**
 * A stand-in for `docker` (or `podman`): the commands that Berth uses, on a folder instead of a daemon, with containers that are
 * processes of this machine and go on without their client. Says what the real ones say. Must not be used to judge how fast or
 * how tight they are.
 *
 * `node docker.ts <state> <command> …`
 */
import { spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseRun, readGpus, readMount } from "./run-options.ts";
import {
  addContainer,
  type Container,
  containerFolder,
  listContainers,
  readContainer,
  readPid,
  readWorld,
  writeWorld,
} from "./state.ts";

const [state = "", ...given] = process.argv.slice(2);
const world = readWorld(state);
const isDocker = world.kind === "docker";

function fail(code: number, text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(code);
}

/** Of the daemon, as the clients begin it. */
const daemonSays = (text: string) => (isDocker ? `Error response from daemon: ${text}` : `Error: ${text}`);

async function reachDaemon(): Promise<void> {
  if (world.daemon === "hung") await new Promise(() => setInterval(() => undefined, 60_000));
  const socket = "unix:///var/run/docker.sock";
  if (world.daemon === "down")
    fail(1, `Cannot connect to the Docker daemon at ${socket}. Is the docker daemon running?`);
  if (world.daemon === "closed") {
    fail(1, `permission denied while trying to connect to the Docker daemon socket at ${socket}`);
  }
}

function read(expected: readonly string[], args: readonly string[]): string[] {
  const fixed = expected.filter((one) => one !== "*");
  if (args.length !== expected.length || fixed.some((one) => args[expected.indexOf(one)] !== one)) {
    fail(125, `unknown flag or form: ${args.join(" ")}`);
  }
  return args.filter((_, index) => expected[index] === "*");
}

async function main([command = "", ...args]: readonly string[]): Promise<void> {
  if (command === "--version") {
    return void process.stdout.write(
      isDocker ? "Docker version 28.2.2, build e6534b4\n" : "podman version 5.2.0\n",
    );
  }
  await reachDaemon();
  switch (command) {
    case "info":
      return info(args);
    case "image": {
      const [image = ""] = read(["inspect", "--format", "{{.Id}}", "*"], args);
      if (world.images.includes(image)) return void process.stdout.write("sha256:0123\n");
      return fail(1, isDocker ? `Error: No such image: ${image}` : `Error: ${image}: image not known`);
    }
    case "pull":
      return await pull(args);
    case "ps": {
      const [filter = ""] = read(["--all", "--filter", "*", "--format", "{{.Names}}"], args);
      const [, label = "", value = ""] = /^label=([^=]+)=(.*)$/.exec(filter) ?? [];
      const names = listContainers(state).filter(({ labels }) => labels[label] === value);
      return void process.stdout.write(names.map(({ name }) => `${name}\n`).join(""));
    }
    case "container": {
      const [name = ""] = read(["inspect", "--format", "{{.State.Pid}}", "*"], args);
      if (readContainer(state, name) === null) return fail(1, `Error: No such container: ${name}`);
      return void process.stdout.write(`${readPid(state, name) ?? 0}\n`);
    }
    case "rm":
      return await remove(read(["--force", "*"], args)[0] ?? "");
    case "run":
      return await run(args);
    default:
      return fail(1, `docker: '${command}' is not a docker command.`);
  }
}

function info(args: readonly string[]): void {
  if (!isDocker) {
    read(["--format", "{{.Host.Security.Rootless}}"], args);
    return void process.stdout.write(`${world.users === "rootless"}\n`);
  }
  read(["--format", "{{json .SecurityOptions}}"], args);
  const users = { same: [], remapped: ["name=userns"], rootless: ["name=rootless"] }[world.users];
  process.stdout.write(`${JSON.stringify(["name=seccomp,profile=builtin", ...users])}\n`);
}

async function pull([image = ""]: readonly string[]): Promise<void> {
  writeWorld(state, { ...world, pulls: [...world.pulls, image] });
  writeFileSync(join(state, "pulling", String(process.pid)), "");
  const published = world.registry[image];
  const [path = ""] = image.replace(/^docker\.io\//, "").split(/[:@]/);
  const [host = ""] = image.split("/");
  if (published === undefined)
    fail(1, daemonSays(`manifest for ${image} not found: manifest unknown: manifest unknown`));
  if (published.fault === "unreachable") {
    fail(1, daemonSays(`Get "https://${host}/v2/": dial tcp: lookup ${host} on 127.0.0.53:53: no such host`));
  }
  if (published.fault === "forbidden") {
    fail(
      1,
      daemonSays(`pull access denied for ${path}, repository does not exist or may require 'docker login'`),
    );
  }
  const ids = Array.from({ length: published.layers }, (_, index) => index.toString(16).padStart(12, "a"));
  for (const id of ids) process.stdout.write(`${id}: Pulling fs layer\n`);
  for (const id of ids) {
    process.stdout.write(`${id}: Download complete\n${id}: Pull complete\n`);
    if (published.fault === "stuck") await new Promise(() => setInterval(() => undefined, 60_000));
    if (published.fault === "no-space") {
      fail(1, "failed to register layer: write /usr/lib/libcublas.so: no space left on device");
    }
  }
  const now = readWorld(state);
  writeWorld(state, { ...now, images: [...now.images.filter((one) => one !== image), image] });
  process.stdout.write(`Status: Downloaded newer image for ${image}\n${image}\n`);
}

async function remove(name: string): Promise<void> {
  const folder = containerFolder(state, name);
  if (!existsSync(folder)) fail(1, `Error response from daemon: No such container: ${name}`);
  const pid = readPid(state, name);
  // One that never ran has nobody who would clear up behind it.
  if (pid === null) rmSync(folder, { recursive: true, force: true });
  else killGroup(pid);
  while (existsSync(folder)) await sleep(10);
  process.stdout.write(`${name}\n`);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

async function run(args: readonly string[]): Promise<void> {
  const refuse = (code: number, text: string) => fail(code, isDocker ? `docker: ${text}` : text);
  let options: ReturnType<typeof parseRun>;
  try {
    options = parseRun(args, world.kind);
  } catch (error) {
    return refuse(125, `${(error as Error).message}\n\nRun 'docker run --help' for more information`);
  }
  const { values, image } = options;
  const one = (name: string) => values[name]?.at(-1) ?? "";
  const published = world.registry[image];
  if (!world.images.includes(image) || published === undefined) {
    return refuse(125, daemonSays(`No such image: ${image}`));
  }
  const gpus = isDocker
    ? (values.gpus ?? []).flatMap(readGpus)
    : (values.device ?? []).map((device) => device.replace("nvidia.com/gpu=", ""));
  if (gpus.length > 0 && !world.hasToolkit) {
    const docker = 'could not select device driver "" with capabilities: [[gpu]]';
    return refuse(
      125,
      daemonSays(
        isDocker ? docker : `setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=${gpus[0]}`,
      ),
    );
  }
  const program = published.programs[one("entrypoint")];
  if (program === undefined) {
    const why = `exec: "${one("entrypoint")}": executable file not found in $PATH`;
    return refuse(127, daemonSays(`failed to create task for container: ${why}: unknown`));
  }
  const [uid = 0, gid = 0] = one("user").split(":").map(Number);
  const pairs = (name: string) => (values[name] ?? []).map((text) => splitPair(text));
  const container: Container = {
    ...{ name: one("name"), image, workdir: one("workdir"), user: { uid, gid }, folders: published.folders },
    ...{ labels: Object.fromEntries(pairs("label")), mounts: (values.mount ?? []).map(readMount) },
    command: [...program, ...options.args],
    env: {
      ...Object.fromEntries(pairs("env")),
      ...(gpus.length === 0 ? {} : { NVIDIA_VISIBLE_DEVICES: gpus.join(",") }),
    },
  };
  const missing = container.mounts.find(({ source }) => !existsSync(source));
  if (missing !== undefined) {
    return refuse(
      125,
      daemonSays(`invalid mount config for type "bind": bind source path does not exist: ${missing.source}`),
    );
  }
  try {
    addContainer(state, container);
  } catch {
    return refuse(125, daemonSays(`Conflict. The container name "/${container.name}" is already in use`));
  }
  spawn(process.execPath, [join(import.meta.dirname, "shim.ts"), state, container.name], {
    ...{ detached: true, stdio: "ignore" },
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
    },
  }).unref();
  await attach(container.name);
}

function splitPair(text: string): [string, string] {
  const equals = text.indexOf("=");
  return [text.slice(0, equals), text.slice(equals + 1)];
}

/** Prints what the container prints, hands signals on, and ends as it ends. */
async function attach(name: string): Promise<void> {
  const socket = await connectTo(join(containerFolder(state, name), "attach.sock"));
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => socket.write(`${signal}\n`));
  }
  let rest = "";
  let code = 137;
  for await (const chunk of socket) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = JSON.parse(line) as { stdout?: string; stderr?: string; exit?: number };
      if (message.stdout !== undefined) process.stdout.write(Buffer.from(message.stdout, "base64"));
      if (message.stderr !== undefined) process.stderr.write(Buffer.from(message.stderr, "base64"));
      code = message.exit ?? code;
    }
  }
  process.exitCode = code;
}

async function connectTo(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (isOpen) return socket;
    await sleep(10);
  }
}

await main(given);
process.exit();
