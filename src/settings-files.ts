/**
 * What settings name on the disk: berth.yaml, the home folder, the certificate and its key, prices. Every refusal is a
 * SettingsError that names the setting and the path; must not interpret what berth.yaml says.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { type Settings, SettingsError } from "./settings.ts";

/** The text of berth.yaml, null when there is none. */
export function readSettingsFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // The second where BERTH_HOME is a file, which makeHome says.
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new SettingsError(`${path} cannot be read (${code}).`);
  }
}

/** The certificate chain and its key, known to fit each other; null when the port shall speak plain text. */
export function readTls(settings: Settings): { cert: string; key: string } | null {
  const { BERTH_TLS_CERT: cert, BERTH_TLS_KEY: key } = settings;
  if (cert === undefined || key === undefined) return null;
  const tls = { cert: readPem("BERTH_TLS_CERT", cert), key: readPem("BERTH_TLS_KEY", key) };
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new SettingsError(
      `BERTH_TLS_CERT is ${cert} and BERTH_TLS_KEY is ${key}; allowed: a certificate and its key as PEM files (${(error as Error).message}).`,
    );
  }
  return tls;
}

function readPem(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new SettingsError(
      `${name} is ${path}, which cannot be read (${(error as NodeJS.ErrnoException).code}).`,
    );
  }
}

/** Makes the home folder with its parents, readable by this user alone, and finds out whether it can be written. */
export function makeHome(home: string): void {
  try {
    makeFolder(home);
    accessSync(home, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SettingsError(
      `BERTH_HOME is ${home}, which cannot be made or written (${code}). Set one that this user may write.`,
    );
  }
}

/** With its parents. Node's own `recursive` does not end where a parent is there and refuses with ENOENT, as /proc does. */
function makeFolder(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

const usd = z.number("an amount in US dollars").min(0).max(1_000_000);
const pricesFile = z.strictObject({
  models: z
    .record(
      z.string().min(1),
      z.strictObject({ input: usd.default(0), output: usd.default(0), cached: usd.optional() }),
    )
    .default({}),
  gpus: z.record(z.string().min(1), usd).default({}),
});

/** Amounts as core/prices has them. */
export type PricesRead = {
  readonly models: ReadonlyMap<
    string,
    { readonly inputUsd: number; readonly outputUsd: number; readonly cachedUsd: number }
  >;
  readonly gpus: ReadonlyMap<string, number>;
};

/** The prices of BERTH_PRICES; none where it is not set. Cached input costs what input costs unless it has its own price. */
export function readPrices({ BERTH_PRICES: path }: Settings): PricesRead {
  if (path === undefined) return { models: new Map(), gpus: new Map() };
  const outcome = pricesFile.safeParse(parsePrices(path));
  if (!outcome.success) {
    const [issue] = outcome.error.issues;
    throw new SettingsError(
      `BERTH_PRICES is ${path}, in which ${issue?.path.join(".") || "the file"} is not right: ${issue?.message}. See docs/guides/running.md.`,
    );
  }
  const { models, gpus } = outcome.data;
  return {
    models: new Map(
      Object.entries(models).map(([name, { input, output, cached }]) => [
        name,
        { inputUsd: input, outputUsd: output, cachedUsd: cached ?? input },
      ]),
    ),
    gpus: new Map(Object.entries(gpus)),
  };
}

function parsePrices(path: string): unknown {
  try {
    return parseYaml(readFileSync(path, "utf8")) ?? {};
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new SettingsError(`BERTH_PRICES is ${path}, which cannot be read (${reason}).`);
  }
}
