/**
 * What Docker's and Podman's `run` is told so that an engine's container sees its weights, its own folder and its GPUs and has no
 * network, no capability and no file of its image that it could change. Pure: makes the list of arguments, which no shell ever reads.
 * The references are docker-run(1) and podman-run(1); where the two differ, that is said here.
 */
import type { Launch } from "../../../ports/engine.ts";
import { outermost } from "../confine.ts";
import type { Furnished } from "../quarters.ts";

export type RuntimeKind = "docker" | "podman";

/** How a runtime deals with users: what decides which one a container must be told to have. */
export type RuntimeUsers =
  /** As the machine has them. */
  | "same"
  /** Docker's daemon maps them for all containers, which one container can be excepted from. */
  | "remapped"
  /** Docker's daemon is itself a user's, who is root in name in all of its containers. */
  | "rootless-docker"
  /** Podman without root: the user who starts a container can keep his number in it. */
  | "rootless-podman";

export type Runtime = { readonly kind: RuntimeKind; readonly users: RuntimeUsers };

export type ContainerSpec = {
  readonly runtime: Runtime;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly launch: Pick<Launch, "command" | "args" | "env" | "reads">;
  readonly furnished: Furnished;
  /** The engine's own folder, in which it works. */
  readonly folder: string;
  /** User and group of the engine where Berth is root; else Berth's own. */
  readonly user: { readonly uid: number; readonly gid: number };
  readonly gpus: readonly string[];
  /** Bytes it may have; null for no limit. */
  readonly memoryBytes: number | null;
};

/** Most processes and threads of one engine, as for one that is no container. */
const maxProcesses = 16_384;
/** The parts of an engine exchange tensors through it. A bound, of which nothing is reserved. */
const sharedMemoryBytes = 16 * 2 ** 30;

export function runArgs(spec: ContainerSpec): string[] {
  const { runtime, name, labels, image, launch, folder, gpus } = spec;
  return [
    "run",
    // It is gone when its engine is; what it was pulled for is seen before, with progress and a limit of time.
    ...["--rm", "--pull", "never", "--name", name],
    ...Object.entries(labels).flatMap(([label, value]) => ["--label", `${label}=${value}`]),
    ...walls(spec),
    ...bounds(spec),
    ...["--user", userOf(spec), ...userSpace(runtime.users)],
    // Output goes to whoever is attached, and is not kept a second time by the runtime.
    ...["--log-driver", "none", "--no-healthcheck", "--workdir", folder],
    ...mounts(spec).flatMap((mount) => ["--mount", mount]),
    ...Object.entries(environment(spec)).flatMap(([variable, value]) => ["--env", `${variable}=${value}`]),
    ...(gpus.length === 0 ? [] : devices(runtime.kind, gpus)),
    ...["--entrypoint", launch.command, image],
    ...launch.args,
  ];
}

function walls({ runtime }: ContainerSpec): string[] {
  return [
    // A loopback interface is all there is: an engine's processes find each other over it, and Berth finds it by its socket.
    ...["--network", "none", "--hostname", "berth-engine", "--ipc", "private"],
    ...["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    // Else SELinux would have weights and sockets relabelled, which others read too. Without SELinux it means nothing.
    ...["--security-opt", "label=disable"],
    // Programs are compiled there and loaded, so it must not be `noexec`, which is what Docker makes it.
    ...["--read-only", "--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777,size=4g"],
    // Podman hands on the proxies of whoever starts it, with their passwords; Docker's are emptied in the environment.
    ...(runtime.kind === "podman" ? ["--http-proxy=false"] : []),
  ];
}

function bounds({ runtime, memoryBytes }: ContainerSpec): string[] {
  const isRootless = runtime.users === "rootless-docker" || runtime.users === "rootless-podman";
  const shared = Math.min(sharedMemoryBytes, memoryBytes ?? sharedMemoryBytes);
  return [
    ...["--pids-limit", String(maxProcesses), "--shm-size", `${shared}b`, "--ulimit", "core=0"],
    // As for other engines: it goes before Berth when the machine's memory runs out.
    ...["--oom-score-adj", "500"],
    // With half of the usual weight, so that Berth has a processor when all are wanted. Users' own groups often lack this part.
    ...(isRootless ? [] : ["--cpu-shares", "512"]),
    // Equal: memory and no swap, which would slow the whole machine down.
    ...(memoryBytes === null ? [] : ["--memory", `${memoryBytes}b`, "--memory-swap", `${memoryBytes}b`]),
  ];
}

function userOf({ runtime, user }: ContainerSpec): string {
  return runtime.users === "rootless-docker" ? "0:0" : `${user.uid}:${user.gid}`;
}

function userSpace(users: RuntimeUsers): string[] {
  if (users === "rootless-podman") return ["--userns", "keep-id"];
  return users === "remapped" ? ["--userns", "host"] : [];
}

/** Everything at the path that it has outside, since arguments, links and settings name it by that. */
function mounts({ furnished, launch }: ContainerSpec): string[] {
  const { reads, covers, writes } = furnished;
  return [
    ...outermost([...reads, ...(launch.reads ?? [])]).map((path) => bind(path, path, true)),
    ...covers.map(({ source, at }) => bind(source, at, true)),
    ...writes.map((path) => bind(path, path, false)),
  ];
}

function bind(source: string, at: string, isReadOnly: boolean): string {
  const fields = ["type=bind", `source=${source}`, `destination=${at}`, ...(isReadOnly ? ["readonly"] : [])];
  return fields.map(csvField).join(",");
}

/** Both read a mount, and Docker its GPUs, as one line of CSV (RFC 4180): quoted where it would end early. */
function csvField(field: string): string {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

/** Docker's client would put those of its own settings into every container. */
const proxies = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [
  name,
  name.toLowerCase(),
]);

function environment({ runtime, launch, folder, gpus }: ContainerSpec): Record<string, string> {
  return {
    ...(runtime.kind === "docker" ? Object.fromEntries(proxies.map((name) => [name, ""])) : {}),
    // Libraries ask for the user's name, which the image does not know.
    ...{ HOME: folder, USER: "berth-engine", LOGNAME: "berth-engine", TMPDIR: "/tmp" },
    // The only interface there is: looked for by the host's name they would find none.
    ...{ NCCL_SOCKET_IFNAME: "lo", GLOO_SOCKET_IFNAME: "lo" },
    ...launch.env,
    // Images made from NVIDIA's ask for all GPUs, and get them where NVIDIA's runtime is the usual one. Docker's --gpus says otherwise.
    ...(gpus.length === 0 || runtime.kind === "podman" ? { NVIDIA_VISIBLE_DEVICES: "void" } : {}),
  };
}

/** Docker takes one list, which is one quoted field; Podman a device of the Container Device Interface for each. */
function devices(kind: RuntimeKind, gpus: readonly string[]): string[] {
  if (kind === "docker") return ["--gpus", `"device=${gpus.join(",")}"`];
  return gpus.flatMap((gpu) => ["--device", `nvidia.com/gpu=${gpu}`]);
}
