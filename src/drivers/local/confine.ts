/**
 * How an engine is shut in on Linux: a root folder of its own that holds the system's programs, the weights and its own
 * folder and nothing else, with processes, message queues and (where it needs none) network of its own, as a user of its
 * own where Berth is root, without any capability. Built from util-linux alone. Pure: makes the command and the list of mounts.
 */
import { createHash } from "node:crypto";
import type { Launch } from "../../ports/engine.ts";

/** Shows `source` at `at`, where something is already that it can be put over. */
export type Cover = { readonly source: string; readonly at: string };

/** What an engine may see of the machine. All paths absolute; those that do not exist must be left out. */
export type View = {
  /** Folder that becomes `/`: empty, and not within `folder`. */
  readonly root: string;
  /** Berth's state: nothing in it is seen but what is named below. */
  readonly hidden: string;
  /** Programs, libraries, weights: to read only. */
  readonly reads: readonly string[];
  /** Single files that are shown in place of others, which are there, within `reads`. */
  readonly covers: readonly Cover[];
  /** Its own, to write. */
  readonly writes: readonly string[];
  /** What it finds as `/tmp`. */
  readonly temporary: string;
  /** Its working directory, within `writes`. */
  readonly folder: string;
  /** It runs as a user that nothing else runs as. */
  readonly hasOwnUser: boolean;
};

/** Where Linux keeps programs, libraries, and what they need to know of the system; what exists of it is shown. */
export const systemFolders = [
  ...["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc"],
] as const;

/**
 * The mounts of a view, in fstab(5): a line each, made in this order, so that what lies within another comes after it. GPUs
 * are files in /dev and /sys; what else is there is guarded by owner and rights, which an engine has no power to pass.
 */
export function mountTable(view: View): string {
  const { root, hidden, reads, covers, writes, temporary, hasOwnUser } = view;
  // A user of its own sees its own processes; without, it has process ids of its own and sees no others anyway.
  const processes = hasOwnUser ? ",hidepid=2" : "";
  const bind = (path: string, options: string, at = path) =>
    `${field(path)} ${field(root + at)} none ${options},X-mount.mkdir 0 0`;
  const fresh = (at: string, options: string) =>
    `tmpfs ${field(root + at)} tmpfs ${options},nosuid,nodev,X-mount.mkdir 0 0`;
  const isHidden = (path: string) => isWithin(path, hidden);
  return [
    fresh("", "mode=755,size=16m"),
    bind(temporary, "bind", "/tmp"),
    ...outermost(reads.filter((path) => !isHidden(path))).map((path) => bind(path, "bind,ro")),
    fresh(hidden, "mode=755,size=16m"),
    ...outermost(reads.filter(isHidden)).map((path) => bind(path, "bind,ro")),
    ...covers.map(({ source, at }) => bind(source, "bind,ro", at)),
    bind("/dev", "rbind"),
    fresh("/dev/shm", "mode=1777"),
    bind("/sys", "rbind"),
    `proc ${field(`${root}/proc`)} proc nosuid,nodev,noexec${processes},X-mount.mkdir 0 0`,
    ...writes.map((path) => bind(path, "bind")),
    "",
  ].join("\n");
}

/** Without those that lie within others of the list: each is shown once. */
export function outermost(paths: readonly string[]): string[] {
  const once = [...new Set(paths)];
  return once.filter((path) => !once.some((other) => other !== path && isWithin(path, other)));
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** fstab(5) separates fields by blanks, and takes these characters as octal numbers. */
function field(path: string): string {
  return path.replace(
    /[ \t\r\n\\#]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}

/**
 * Everything in it is constant; paths and arguments arrive as "$1", "$2", … and are never read as text of the script. Mounts,
 * then becomes the engine in the new root.
 */
const script = 'mount --all --fstab "$1"; root="$2"; shift 2; exec chroot "$root" "$@"';

/**
 * Without root's rights a process may do all this in a user namespace, where it is root in name. As it stays Berth's user, it
 * could end other processes of that user: so it gets process ids of its own, and `unshare` stays as its parent.
 */
const ofNobody = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

/** Most processes and threads of one engine's user. */
const maxProcesses = 16_384;

export type Shutting = {
  /** File with the `mountTable`. */
  readonly table: string;
  readonly view: Pick<View, "root" | "folder">;
  /** User and group the engine becomes; null keeps the user that Berth has. */
  readonly user: number | null;
  readonly hasNetwork: boolean;
};

/** The launch's command, within these walls. Arguments keep their `{dir}`. */
export function shutIn(
  { command, args }: Pick<Launch, "command" | "args">,
  { table, view, user, hasNetwork }: Shutting,
): { command: string; args: string[] } {
  const spaces = [
    ...["--mount", "--propagation", "private", "--ipc"],
    ...(user === null ? ofNobody : []),
    ...(hasNetwork ? [] : ["--net"]),
  ];
  const asUser = user === null ? [] : [`--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  const powerless = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
  const limits = ["--core=0", ...(user === null ? [] : [`--nproc=${maxProcesses}`])];
  return {
    command: "unshare",
    args: [
      ...spaces,
      ...["--", "/bin/sh", "-ec", script, "berth-engine", table, view.root],
      ...["env", `--chdir=${view.folder}`, "prlimit", ...limits],
      ...["setpriv", ...asUser, ...powerless, "--", command, ...args],
    ],
  };
}

/** The first of the users that engines become; far above those of people, services and containers. */
const firstUser = 2_000_000_000;
const users = 2 ** 27;

/** The user of an instance: the same at each start of it, and another than every other's for all practical purposes. */
export function userOf(instanceId: string): number {
  return firstUser + (createHash("sha256").update(instanceId).digest().readUInt32BE(0) % users);
}
