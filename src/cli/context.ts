/**
 * What every command is given: the streams, the API client, the colours and the ways to print. Built once a run by
 * `program.ts` from what `main.ts` passes in, so that tests own all of it. Must not know any command.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { type Client, createClient, readUrl } from "./client.ts";
import { berthHome, type Env, findApiToken, isLoopback } from "./credentials.ts";
import { type Palette, paletteFor, plain, printableJson } from "./terminal.ts";

export type InputStream = Readable & { readonly isTTY?: boolean };
export type OutputStream = Writable & { readonly isTTY?: boolean; readonly columns?: number };

export type CliClock = {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

/** Settings given as options of `serve` and `down`: environment names of docs/reference/config.md and their values. */
export type LocalOptions = { readonly settings: Readonly<Record<string, string>>; readonly json: boolean };

export type CliDeps = {
  readonly env: Env;
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly fetch: typeof fetch;
  readonly clock: CliClock;
  /** Calls back on Ctrl-C; returns the function that ends it. */
  onInterrupt(listener: () => void): () => void;
  /** Runs Berth in the foreground; returns the exit code. Handles signals itself. */
  serve(options: LocalOptions): Promise<number>;
  /** Stops engines that outlived a Berth that no longer answers; returns the exit code. */
  down(options: LocalOptions): Promise<number>;
  /** Lists, installs or examines engines of this machine; returns the exit code. */
  engines(task: EnginesTask): Promise<number>;
  /** Writes the state of this machine's Berth to a file, or fills an empty one from it; returns the exit code. */
  backup(options: LocalOptions & { readonly file: string }): Promise<number>;
  restore(options: LocalOptions & { readonly file: string }): Promise<number>;
  /** Replays a trace against the scaler; returns the exit code. */
  simulate(task: SimulateTask): Promise<number>;
  readonly version: string;
};

/** What to replay against what; see `berth simulate --help`. */
export type SimulateTask = {
  readonly trace: string;
  readonly model?: string;
  readonly gpu: string;
  readonly numGpus?: number;
  readonly service?: string;
  readonly maxBatchSize: number;
  readonly min: number;
  readonly max: number;
  readonly loadS: number;
  readonly policy: readonly string[];
  /** name=value */
  readonly settings: readonly string[];
  readonly html?: string;
  readonly json: boolean;
  /** Of the terminal. */
  readonly columns: number;
  readonly signal: AbortSignal;
};

export type EnginesTask =
  | { readonly do: "ls" | "doctor"; readonly json: boolean }
  | {
      readonly do: "install";
      readonly engine: "vllm" | "llama-server";
      /** vLLM's build for processors. */
      readonly cpu: boolean;
      /** llama-server as its project publishes it, also where it could be built. */
      readonly download: boolean;
      readonly json: boolean;
      readonly signal: AbortSignal;
    };

export type GlobalOptions = { readonly url?: string; readonly json?: boolean };

export type Cli = {
  readonly deps: CliDeps;
  readonly json: boolean;
  /** Aborted by Ctrl-C, or when nobody reads standard output any more. */
  readonly signal: AbortSignal;
  /** Made at first use. @throws CliError when the address is malformed */
  readonly client: Client;
  /** True when the address was not named, so that the Berth of this user on this machine is meant. */
  readonly isOwnBerth: boolean;
  /** True when what is sent does not leave this machine. */
  readonly isHere: boolean;
  /** Colours of standard output. */
  readonly palette: Palette;
  /** How the person started this program, for lines to copy. */
  readonly command: string;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes a value to standard output as JSON. */
  printJson(value: unknown): void;
  /** Writes one line for the person to standard error; nothing with --json. */
  note(text: string): void;
};

/** Makes a command's function fit commander: it is given the `Cli` first, then its arguments and options. */
export type Act = <Inputs extends unknown[]>(
  run: (cli: Cli, ...inputs: Inputs) => Promise<void>,
) => (...given: unknown[]) => Promise<void>;

/** Reads nothing yet: a command that needs no server must not stumble over the address of one. */
export function openCli(deps: CliDeps, globals: GlobalOptions, signal: AbortSignal): Cli {
  const { env, stdout, stderr } = deps;
  const named = globals.url ?? (env.BERTH_URL || undefined);
  const findUrl = () => readUrl(named ?? ownUrl(env));
  const isHere = () => named === undefined || isLoopback(findUrl());
  let client: Client | undefined;
  const json = globals.json === true;
  return {
    deps,
    json,
    signal,
    get client() {
      client ??= createClient(findUrl(), () => findApiToken(env, isHere()), deps.fetch);
      return client;
    },
    isOwnBerth: named === undefined,
    get isHere() {
      return isHere();
    },
    palette: paletteFor(stdout.isTTY === true, env),
    // Set by npm when it runs `npx berth`.
    command: env.npm_command === "exec" ? "npx berth" : "berth",
    print: (text) => void stdout.write(text),
    printJson: (value) => void stdout.write(`${printableJson(value)}\n`),
    note: (text) => {
      if (!json) stderr.write(`${plain(text)}\n`);
    },
  };
}

/** Where this user's own Berth is: as the environment says, else where the last `berth serve` wrote that it is. */
function ownUrl(env: Env): string {
  const { BERTH_HOST: host = "", BERTH_PORT: port = "", BERTH_TLS_CERT: certificate = "" } = env;
  const isNotTold = host === "" && port === "" && certificate === "";
  // Port 0 means a free one, which only the Berth itself knows.
  if (isNotTold || port === "0") return readAddress(env) ?? "http://127.0.0.1:8080";
  const isAny = host === "" || host === "0.0.0.0" || host === "::";
  const name = isAny ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return `${certificate === "" ? "http" : "https"}://${name}:${port || "8080"}`;
}

function readAddress(env: Env): string | null {
  try {
    return readFileSync(join(berthHome(env), "address"), "utf8").trim() || null;
  } catch {
    // None yet, or not for this user to read: the default is as good a guess as any.
    return null;
  }
}
