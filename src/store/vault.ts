/**
 * Seals secrets before the store keeps them: AES-256-GCM with a random nonce, bound to a purpose. Owns the key file
 * `$home/secret.key` and the format of a sealed text, `v1.<key id>.<base64url of nonce, ciphertext, tag>`; the key id says
 * which key opens it, so that keys can be replaced later. The key never leaves this file's closure.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Vault } from "../ports/vault.ts";
import { StoreError } from "./error.ts";
import { makeFolder, syncFolder } from "./folder.ts";

const keyBytes = 32;
/** NIST SP 800-38D: 96-bit nonces; random ones are safe for 2^32 seals with one key. */
const nonceBytes = 12;
const tagBytes = 16;
const keyPattern = /^[0-9a-fA-F]{64}$/;

/**
 * @param options.secretKeyHex the key as 64 hexadecimal digits, or null for the one in `$home/secret.key`, which is made
 *   (mode 0600) when there is none
 * @throws StoreError when the key file is not private and cannot be made so, or holds no key
 */
export function openVault(options: { home: string; secretKeyHex: string | null }): Vault {
  const hex = options.secretKeyHex ?? readOrCreateKey(join(options.home, "secret.key"));
  if (!keyPattern.test(hex)) throw new StoreError("BERTH_SECRET_KEY must be 64 hexadecimal digits.");
  const key = Buffer.from(hex, "hex");
  const keyId = idOfKey(key);
  const prefix = `v1.${keyId}.`;

  return {
    seal(plain, purpose) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
      cipher.setAAD(Buffer.from(prefix + purpose));
      const body = Buffer.concat([nonce, cipher.update(plain, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return prefix + body.toString("base64url");
    },
    open(sealed, purpose) {
      const body = readBody(sealed, keyId);
      const nonce = body.subarray(0, nonceBytes);
      const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
      decipher.setAAD(Buffer.from(prefix + purpose));
      decipher.setAuthTag(body.subarray(body.length - tagBytes));
      const opened = decipher.update(body.subarray(nonceBytes, body.length - tagBytes));
      try {
        return Buffer.concat([opened, decipher.final()]).toString("utf8");
      } catch (error) {
        throw new StoreError("A sealed secret was altered, or was sealed for another purpose.", {
          cause: error,
        });
      }
    },
  };
}

function idOfKey(key: Buffer): string {
  return createHmac("sha256", key).update("berth vault key id").digest("hex").slice(0, 8);
}

/** Which key an installation has, null for none: it is not made. The id tells nothing of the key. */
export function findKeyId(options: { home: string; secretKeyHex: string | null }): string | null {
  const hex = options.secretKeyHex ?? readKey(join(options.home, "secret.key"));
  return hex === null ? null : idOfKey(Buffer.from(hex, "hex"));
}

function readBody(sealed: string, keyId: string): Buffer {
  const parts = /^v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)$/.exec(sealed);
  const body = Buffer.from(parts?.[2] ?? "", "base64url");
  // Re-encoding refuses the spare bits of the last character, which decoding would ignore.
  if (parts === null || body.length < nonceBytes + tagBytes || body.toString("base64url") !== parts[2]) {
    throw new StoreError("A sealed secret is not in a form that this Berth knows.");
  }
  if (parts[1] !== keyId) {
    throw new StoreError(
      `A stored secret was sealed with the key ${parts[1]}, but this installation has the key ${keyId}. ` +
        "Bring back the earlier BERTH_SECRET_KEY or secret.key, or enter the secret again.",
    );
  }
  return body;
}

function readOrCreateKey(file: string): string {
  return readKey(file) ?? createKey(file);
}

/** Null when there is no file. */
function readKey(file: string): string | null {
  let handle: number;
  try {
    handle = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new StoreError(`The key file ${file} cannot be opened: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) throw new StoreError(`${file} is not a file. Restore the key file.`);
    if ((stat.mode & 0o077) !== 0) tighten(handle, file);
    // One byte more than a key, a line end and its carriage return take: a longer file is not a key.
    const buffer = Buffer.alloc(2 * keyBytes + 3);
    const text = buffer.toString("latin1", 0, readSync(handle, buffer)).trimEnd();
    if (keyPattern.test(text)) return text;
    throw new StoreError(
      `The key file ${file} does not hold 64 hexadecimal digits. Restore it from a backup; without it, stored tokens cannot be opened.`,
    );
  } finally {
    closeSync(handle);
  }
}

function tighten(handle: number, file: string): void {
  try {
    fchmodSync(handle, 0o600);
  } catch (error) {
    throw new StoreError(
      `The key file ${file} can be read by other users and its rights cannot be changed. Run: chmod 600 ${file}`,
      { cause: error },
    );
  }
}

/** Writes the key whole under another name first: a crash leaves no half key, and of two starters one wins for both. */
function createKey(file: string): string {
  const folder = dirname(file);
  makeFolder(folder);
  const hex = randomBytes(keyBytes).toString("hex");
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  const handle = openSync(draft, "wx", 0o600);
  try {
    writeSync(handle, `${hex}\n`);
    fsyncSync(handle);
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    closeSync(handle);
    unlinkSync(draft);
  }
  syncFolder(folder);
  const kept = readKey(file);
  if (kept === null)
    throw new StoreError(`The key file ${file} disappeared while it was made. Start Berth again.`);
  return kept;
}
