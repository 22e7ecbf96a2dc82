/**
 * Which extra engine arguments Berth refuses for every engine: those with which a deployment could leave its place, by
 * listening elsewhere, reading or writing files, loading code or other models, or reaching other servers. Pure. Each
 * engine refuses further ones of its own. Refuses rather too much: what it lets pass reaches a command line.
 */

type Rule = {
  /** Whole names, without dashes in front, in lower case, words joined by one dash. */
  readonly names: readonly string[];
  /** A name that has one of these among its words is refused too. */
  readonly words: readonly string[];
  readonly why: string;
};

const rules: readonly Rule[] = [
  {
    names: ["uds", "fd", "api-server-count", "headless", "data-parallel-rank", "nnodes", "node-rank"],
    words: [
      "host",
      "hostname",
      "port",
      "ip",
      "addr",
      "address",
      "socket",
      "ssl",
      "tls",
      "root",
      "cors",
      "origins",
      "uvicorn",
      "rpc",
      "master",
    ],
    why: "Berth decides where and how an engine listens",
  },
  {
    names: ["api-prefix", "allow-credentials", "allowed-methods", "allowed-headers", "disable-fastapi-docs"],
    words: ["key", "keys", "password", "secret", "auth"],
    why: "Berth decides who may call an engine",
  },
  {
    names: [
      "model",
      "model-url",
      "model-draft",
      "model-id",
      "model-weights",
      "served-model-name",
      "alias",
      "m",
      "mu",
      "md",
      "a",
      "hf",
      "hfr",
      "hff",
      "hfd",
      "hft",
      "hf-repo",
      "hf-token",
      "hf-overrides",
      "revision",
      "code-revision",
      "tokenizer",
      "tokenizer-revision",
      "docker-repo",
      "dr",
      "mmproj",
      "mm",
      "lora",
      "lora-scaled",
      "lora-modules",
      "prompt-adapters",
      "control-vector",
      "control-vector-scaled",
      "speculative-model",
      "offline",
    ],
    words: ["tokenizer", "repo", "vocoder"],
    why: "the model is fixed by hf or base_model",
  },
  {
    names: [
      "f",
      "o",
      "of",
      "bf",
      "j",
      "jf",
      "log",
      "grammar",
      "chat-template",
      "model-loader",
      "media",
      "props",
    ],
    words: [
      "path",
      "paths",
      "dir",
      "directory",
      "folder",
      "file",
      "files",
      "filename",
      "config",
      "configs",
      "template",
      "download",
      "save",
      "output",
      "log",
      "logs",
      "logging",
      "logdir",
      "profile",
      "profiler",
      "dump",
      "keyfile",
      "certfile",
    ],
    why: "an engine may read and write only its own files",
  },
  {
    names: [
      "trust-remote-code",
      "worker-cls",
      "worker-extension-cls",
      "scheduler-cls",
      "distributed-executor-backend",
      "logits-processors",
      "middleware",
      "tools",
      "agent",
    ],
    words: [
      "plugin",
      "plugins",
      "module",
      "modules",
      "middleware",
      "cls",
      "class",
      "import",
      "remote",
      "exec",
    ],
    why: "an engine may run no other code",
  },
  {
    names: ["otlp-traces"],
    words: ["url", "uri", "endpoint", "proxy", "webui", "webhook", "mcp", "otlp", "domains"],
    why: "an engine may reach no other server",
  },
];

const refusedNames = new Map(rules.flatMap((rule) => rule.names.map((name) => [name, rule.why])));
const refusedWords = new Map(rules.flatMap((rule) => rule.words.map((word) => [word, rule.why])));

/** Ordinary arguments that look like the beginning of a refused one. */
const notAbbreviations: ReadonlySet<string> = new Set(["temp"]);

/**
 * Null when nothing speaks against the arguments, else one sentence that names the first one that is refused. Knows
 * `--name=value`, `--name value`, `-n`, underscores for dashes, any case, dotted names, and the abbreviations that
 * command-line parsers accept (`--hos` for `--host`).
 */
export function refuseUnsafeArgs(args: readonly string[]): string | null {
  for (const [index, arg] of args.entries()) {
    const refusal = refuseArg(arg, index === 0);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuseArg(arg: string, isFirst: boolean): string | null {
  if (!arg.isWellFormed() || /\p{Cc}/u.test(arg)) {
    return "extra_args may not contain control characters or broken Unicode.";
  }
  if (!isFlag(arg)) {
    if (isFirst) return `extra_args must begin with a flag such as --name; ${quote(arg)} is none.`;
    return refuseValue(arg, `the value ${quote(arg)}`);
  }
  const [flag = "", value] = splitFlag(arg);
  const why = refusedBecause(flag);
  if (why !== null) return `extra_args may not contain ${quote(flag)}: ${why}.`;
  return value === null ? null : refuseValue(value, `the value of ${quote(flag)}`);
}

/** `-1` and `-0.5` are values. */
function isFlag(arg: string): boolean {
  return arg.startsWith("-") && !/^-[\d.]/.test(arg);
}

/** A space ends the name as well: `--host 0.0.0.0` in one piece. */
function splitFlag(arg: string): readonly [string, string | null] {
  const end = arg.search(/[=\s]/);
  return end === -1 ? [arg, null] : [arg.slice(0, end), arg.slice(end + 1)];
}

function refusedBecause(flag: string): string | null {
  const name = flag.replace(/^-+/, "").toLowerCase().replaceAll("_", "-");
  if (!/^[a-z0-9][a-z0-9.-]*$/.test(name)) return "it is not the name of an argument";
  const whole = refusedNames.get(name);
  if (whole !== undefined) return whole;
  for (const word of name.split(/[.-]+/)) {
    const why = refusedWords.get(word);
    if (why !== undefined) return why;
  }
  // "no-" and dotted parts hide a refused name as little as an abbreviation does.
  for (const part of [name.replace(/^no-/, ""), ...name.split(".")]) {
    const why = refusedNames.get(part) ?? (flag.startsWith("--") ? abbreviated(part) : undefined);
    if (why !== undefined) return why;
  }
  return null;
}

function abbreviated(name: string): string | undefined {
  if (notAbbreviations.has(name)) return undefined;
  for (const refused of [refusedNames, refusedWords]) {
    for (const [full, why] of refused) if (full.startsWith(name)) return why;
  }
  return undefined;
}

/** Paths out of the engine's own folder and addresses, also inside JSON. */
function refuseValue(value: string, what: string): string | null {
  if (value.includes("://")) return `extra_args may not contain ${what}: it looks like a URL.`;
  if (/(?:^|[\s"'=,:;[{(])[/~\\]/.test(value) || /(?:^|[^.])\.\.(?:[^.]|$)/.test(value)) {
    return `extra_args may not contain ${what}: it looks like a path.`;
  }
  return null;
}

/** Long arguments are cut in messages. */
function quote(text: string): string {
  return text.length <= 60 ? `"${text}"` : `"${text.slice(0, 57)}..."`;
}
