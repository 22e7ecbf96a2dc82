/**
 * What settings name on the disk: berth.yaml, the home folder, the certificate and its key. Every refusal is a
 * SettingsError that names the setting and the path; must not interpret what berth.yaml says.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
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
