/**
 * Where the Unix sockets of a Berth are: `run` in BERTH_HOME, or, where that path is too long for a socket, a private
 * folder under the system's temporary one that is named after BERTH_HOME. Must not hold anything else.
 */
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** sockaddr_un holds 104 bytes on macOS and 108 on Linux, with the final zero; names in the folder take up to 24. */
const maxDirectoryBytes = 104 - 1 - 24;

/**
 * The folder, made if it is not there, readable by this user alone.
 * @throws Error when the folder exists and belongs to somebody else
 */
export function runDirectory(home: string): string {
  const inHome = join(home, "run");
  const directory = Buffer.byteLength(inHome) <= maxDirectoryBytes ? inHome : inTemporary(home);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = lstatSync(directory);
  // Anyone may create names in the temporary folder: one that is not ours must not be trusted with sockets.
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new Error(`${directory} is not a folder of this user. Remove it, or set a shorter BERTH_HOME.`);
  }
  chmodSync(directory, 0o700);
  return directory;
}

function inTemporary(home: string): string {
  const name = createHash("sha256").update(home).digest("hex").slice(0, 16);
  return join(tmpdir(), `berth-${process.getuid?.() ?? 0}-${name}`);
}
