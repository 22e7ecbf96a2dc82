/**
 * Where a local engine listens: a Unix socket in a folder of its own, within one that nobody else can enter. Owns the paths and
 * their limits.
 */
import { lstat, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkId } from "./record.ts";

/** sockaddr_un holds 108 bytes on Linux and 104 on macOS, the last of them zero. */
const maxPathBytes = process.platform === "linux" ? 107 : 103;

/** llama.cpp's server takes an address for a socket's path by this ending. */
export function socketPath(directory: string, instanceId: string): string {
  return join(directory, checkId(instanceId), "s.sock");
}

/** Makes the place for a new socket. Throws, with what to do, when it would be too long or open to others. */
export async function prepareSocket(directory: string, instanceId: string): Promise<string> {
  const path = socketPath(directory, instanceId);
  if (Buffer.byteLength(path) > maxPathBytes) {
    throw new Error(
      `The socket path ${path} is longer than the ${maxPathBytes} bytes the system allows; choose a shorter BERTH_HOME.`,
    );
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // The directory may be in a public place such as /tmp: somebody else's would let them listen in.
  const info = await lstat(directory);
  if (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o077) !== 0) {
    throw new Error(
      `${directory} must be a folder that only this user can enter; remove it or correct its owner and mode (700).`,
    );
  }
  await rm(dirname(path), { recursive: true, force: true });
  await mkdir(dirname(path), { mode: 0o700 });
  return path;
}

/** Removes an instance's socket, also one of an older Berth, which had no folder. */
export async function removeSocket(directory: string, instanceId: string, path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(dirname(socketPath(directory, instanceId)), { recursive: true, force: true });
}
