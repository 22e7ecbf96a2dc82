/** Whether a file on disk is what its name as a blob says. Reads it piece by piece, so that nothing else has to wait. */
import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

const pieceBytes = 512 * 1024;

/**
 * A blob's name is the sha256 of a large file or the git id of a small one. False also when it is not there. Throws the
 * signal's reason when aborted.
 */
export async function hasNamedHash(
  path: string,
  blob: string,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const handle = await openFile(path);
  if (handle === null) return false;
  try {
    const { size } = await handle.stat();
    const gitHash = (algorithm: string) => createHash(algorithm).update(`blob ${size}\0`);
    if (blob.length === 40) return (await digest(handle, gitHash("sha1"), onBytes, signal)) === blob;
    if ((await digest(handle, createHash("sha256"), onBytes, signal)) === blob) return true;
    // Repositories whose git uses sha256 name small files with as many digits.
    return (await digest(handle, gitHash("sha256"), () => undefined, signal)) === blob;
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<FileHandle | null> {
  return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ELOOP") return null;
    throw error;
  });
}

async function digest(
  handle: FileHandle,
  hash: Hash,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(piece.subarray(0, bytesRead));
    at += bytesRead;
    onBytes(bytesRead);
  }
}
