/**
 * The part of docker-run(1) and podman-run(1) that Berth uses, read as strictly as they read it: an option that is not in the list is
 * refused, as is a value that theirs would refuse. Pure.
 */

export type RunOptions = {
  readonly values: Readonly<Record<string, readonly string[]>>;
  readonly image: string;
  readonly args: readonly string[];
};

/** Options by kind of value; those without one are switches, which podman and docker take as `--name` or `--name=false`. */
const withValue = [
  ...[
    "pull",
    "name",
    "label",
    "network",
    "hostname",
    "ipc",
    "cap-drop",
    "security-opt",
    "tmpfs",
    "pids-limit",
  ],
  ...["shm-size", "ulimit", "oom-score-adj", "cpu-shares", "memory", "memory-swap", "user", "userns"],
  ...["log-driver", "workdir", "mount", "env", "entrypoint"],
];
const ofDocker = ["gpus"];
const ofPodman = ["device"];
const switches = ["rm", "no-healthcheck", "read-only"];
const podmanSwitches = ["http-proxy"];

/** @throws Error with what the client would say */
export function parseRun(args: readonly string[], kind: "docker" | "podman"): RunOptions {
  const valued = new Set([...withValue, ...(kind === "docker" ? ofDocker : ofPodman)]);
  const plain = new Set([...switches, ...(kind === "docker" ? [] : podmanSwitches)]);
  const values: Record<string, string[]> = {};
  let at = 0;
  for (; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    if (!arg.startsWith("-")) break;
    const [, name = "", inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (plain.has(name)) {
      values[name] = [inline ?? "true"];
    } else if (valued.has(name)) {
      if (inline === undefined) at += 1;
      const value = inline ?? args[at];
      if (value === undefined) throw new Error(`flag needs an argument: --${name}`);
      check(name, value);
      values[name] = [...(values[name] ?? []), value];
    } else throw new Error(`unknown flag: ${arg.split("=")[0]}`);
  }
  const image = args[at];
  if (image === undefined) throw new Error('"docker run" requires at least 1 argument.');
  return { values, image, args: args.slice(at + 1) };
}

const forms: Readonly<Record<string, RegExp>> = {
  pull: /^(?:always|missing|never)$/,
  name: /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/,
  label: /^[^=]+=/,
  network: /^none$/,
  ipc: /^private$/,
  user: /^\d+:\d+$/,
  "pids-limit": /^\d+$/,
  "oom-score-adj": /^-?\d+$/,
  "cpu-shares": /^\d+$/,
  memory: /^\d+b$/,
  "memory-swap": /^\d+b$/,
  "shm-size": /^\d+b$/,
  tmpfs: /^\/[^:]+:[\w=,]+$/,
  workdir: /^\//,
  env: /^[A-Za-z_]\w*=/,
};

function check(name: string, value: string): void {
  const form = forms[name];
  if (form !== undefined && !form.test(value))
    throw new Error(`invalid argument "${value}" for "--${name}" flag`);
  if (name === "mount") readMount(value);
  if (name === "gpus") readGpus(value);
}

export type Mount = { readonly source: string; readonly at: string; readonly isReadOnly: boolean };

/** Both clients read one line of CSV, of fields that are `key=value` or a key alone. */
export function readMount(value: string): Mount {
  const fields = new Map(
    readCsv(value).map((field) => {
      const equals = field.indexOf("=");
      return equals === -1 ? [field, "true"] : [field.slice(0, equals), field.slice(equals + 1)];
    }),
  );
  const known = new Set(["type", "source", "destination", "readonly"]);
  for (const key of fields.keys()) {
    if (!known.has(key))
      throw new Error(`invalid argument "${value}" for "--mount" flag: unexpected key '${key}'`);
  }
  const [source = "", at = ""] = [fields.get("source"), fields.get("destination")];
  if (fields.get("type") !== "bind" || !source.startsWith("/") || !at.startsWith("/")) {
    throw new Error(`invalid argument "${value}" for "--mount" flag`);
  }
  return { source, at, isReadOnly: fields.get("readonly") === "true" };
}

/** Several devices are one field, which therefore is quoted: unquoted, the second would be read as a key of its own. */
export function readGpus(value: string): string[] {
  const fields = readCsv(value);
  const [, devices] = /^device=(.+)$/.exec(fields[0] ?? "") ?? [];
  if (devices === undefined || fields.length !== 1) {
    throw new Error(
      `invalid argument "${value}" for "--gpus" flag: unexpected key in '${fields[1] ?? fields[0]}'`,
    );
  }
  return devices.split(",");
}

/** One line of RFC 4180. */
function readCsv(line: string): string[] {
  const fields: string[] = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/gy;
  for (;;) {
    const found = pattern.exec(line);
    if (found === null) throw new Error(`parse error: bare " in non-quoted field: ${line}`);
    fields.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? "");
    if (found[3] === "") return fields;
  }
}
