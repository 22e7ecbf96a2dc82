/**
 * Where the command line finds secrets: Berth's API token and the Hugging Face token. Never from an argument, which
 * other users of a machine can read. Must not print a secret, nor send one.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { CliError, exitCodes } from "./exit.ts";
import { shellWord } from "./terminal.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Longest secret that is read from a file or from standard input. */
export const maxSecretBytes = 4096;

/** Berth's folder on this machine; `serve` has the same default. */
export function berthHome(env: Env): string {
  return resolve((given(env, "BERTH_HOME") ?? "~/.berth").replace(/^~(?=$|\/)/, homeFolder(env)));
}

export type ApiToken = {
  readonly secret: string;
  /** What stands for the token in a shell line, so that a printed line can be copied and shows no secret. */
  readonly shell: string;
  /** For a person: where it came from. */
  readonly from: string;
};

/**
 * BERTH_API_TOKEN, else the file that `berth serve` writes. The file is for this machine's Berth, so it is not sent
 * to a Berth elsewhere. Null when there is none.
 * @param isHere whether the token is for a Berth on this machine
 */
export async function findApiToken(env: Env, isHere: boolean): Promise<ApiToken | null> {
  const fromEnv = given(env, "BERTH_API_TOKEN");
  if (fromEnv !== undefined) {
    return {
      secret: checkSecret(fromEnv, "BERTH_API_TOKEN"),
      shell: "$BERTH_API_TOKEN",
      from: "BERTH_API_TOKEN",
    };
  }
  if (!isHere) return null;
  const path = join(berthHome(env), "token");
  const secret = await readSecretFile(path);
  if (secret === null) return null;
  return { secret, shell: `$(cat ${shellPath(path, env)})`, from: path };
}

export type HfToken = { readonly secret: string; readonly from: string };

/**
 * HF_TOKEN, else the file that `hf auth login` leaves (HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME, ~/.cache, as
 * huggingface_hub looks for it). Null when there is none.
 */
export async function findHfToken(env: Env): Promise<HfToken | null> {
  const fromEnv = given(env, "HF_TOKEN");
  if (fromEnv !== undefined) return { secret: checkSecret(fromEnv, "HF_TOKEN"), from: "HF_TOKEN" };
  const cache = given(env, "XDG_CACHE_HOME") ?? join(homeFolder(env), ".cache");
  const hfHome = given(env, "HF_HOME") ?? join(cache, "huggingface");
  const path = given(env, "HF_TOKEN_PATH") ?? join(hfHome, "token");
  const secret = await readSecretFile(path.replace(/^~(?=$|\/)/, homeFolder(env)));
  return secret === null ? null : { secret, from: path };
}

/** A secret as a person or a pipe gives it; surrounding space does not belong to it. */
export function readSecret(text: string): string {
  if (text.trim() === "")
    throw new CliError(exitCodes.usage, "A token was expected on standard input; it is empty.");
  return checkSecret(text.trim(), "What came on standard input");
}

/** All of a stream as text; more than `maxBytes` is a usage error. Ends with the signal's reason. */
export async function readText(stream: Readable, maxBytes: number, signal: AbortSignal): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const stop = () => stream.destroy(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const piece of stream) {
      const buffer = Buffer.from(piece as Buffer | string);
      bytes += buffer.length;
      if (bytes > maxBytes) {
        throw new CliError(exitCodes.usage, `Standard input is longer than the limit of ${maxBytes} bytes.`);
      }
      pieces.push(buffer);
    }
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** True when requests to this address do not leave the machine. */
export function isLoopback(url: URL): boolean {
  return url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(url.hostname);
}

async function readSecretFile(path: string): Promise<string | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new CliError(
      exitCodes.failed,
      `The token file ${path} cannot be read (${code ?? "unknown error"}).`,
    );
  }
  return text.trim() === "" ? null : checkSecret(text.trim(), `The token in ${path}`);
}

function checkSecret(secret: string, name: string): string {
  if (!/^[\x21-\x7e]+$/.test(secret) || secret.length > maxSecretBytes) {
    throw new CliError(
      exitCodes.usage,
      `${name} is not a token: it has spaces, line breaks or unusual characters.`,
    );
  }
  return secret;
}

/** A path in the home folder begins with ~, which a shell expands only outside quotes. */
function shellPath(path: string, env: Env): string {
  const home = `${homeFolder(env)}/`;
  return path.startsWith(home) ? `~/${shellWord(path.slice(home.length))}` : shellWord(path);
}

function homeFolder(env: Env): string {
  return given(env, "HOME") ?? homedir();
}

function given(env: Env, name: string): string | undefined {
  const value = env[name];
  return value === "" ? undefined : value;
}
