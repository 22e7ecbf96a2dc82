/**
 * Sends a file as an HTTP body: whole or a range of it, HEAD or GET, and as badly as the faults say. Owns Range and the
 * byte-level faults; knows nothing of repositories.
 */
import { open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { TLSSocket } from "node:tls";
import type { FaultBox } from "./faults.ts";

const chunkBytes = 64 * 1024;
const bodyFaults = ["reset", "truncate", "corrupt", "stall", "slow"] as const;

/**
 * @param content a path of this machine, or the bytes themselves
 * @param count is told of bytes before they are sent
 */
export async function sendBody(
  request: IncomingMessage,
  response: ServerResponse,
  content: { file: string; size: number } | Buffer,
  headers: Readonly<Record<string, string>>,
  faults: FaultBox,
  count: (bytes: number) => void = () => undefined,
): Promise<void> {
  const size = Buffer.isBuffer(content) ? content.length : content.size;
  const url = decodeURIComponent(request.url ?? "");
  const ignoreRange = faults.take(["no-range"], request.method ?? "", url) !== null;
  const range = ignoreRange ? null : parseRange(request.headers.range, size);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${size}`, "content-length": "0" }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: size };
  const fault = request.method === "HEAD" ? null : faults.take(bodyFaults, "GET", url);
  const cut = fault?.kind === "truncate" ? Math.min(end, start + fault.afterBytes) : end;
  const announced = fault?.kind === "truncate" && fault.announced ? cut : end;
  const isUnannounced = fault?.kind === "truncate" && !fault.announced;
  const etag = faults.take(["etag"], request.method ?? "", url)?.value;
  response.writeHead(range === null ? 200 : 206, {
    ...headers,
    ...(etag === undefined ? {} : { etag: `"${etag}"` }),
    "accept-ranges": "bytes",
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${size}` }),
    ...(isUnannounced ? {} : { "content-length": String(announced - start) }),
  });
  if (request.method === "HEAD") {
    response.end();
    return;
  }

  let sent = 0;
  for await (const chunk of readContent(content, start, cut)) {
    if (fault?.kind === "corrupt" && fault.atByte >= sent && fault.atByte < sent + chunk.length) {
      chunk[fault.atByte - sent] = (chunk[fault.atByte - sent] ?? 0) ^ 0xff;
    }
    const isLast =
      (fault?.kind === "reset" || fault?.kind === "stall") && sent + chunk.length > fault.afterBytes;
    const part = isLast ? chunk.subarray(0, fault.afterBytes - sent) : chunk;
    count(part.length);
    await write(response, part);
    sent += part.length;
    if (response.destroyed) return;
    if (isLast && fault.kind === "reset") return breakOff(request.socket);
    if (isLast) return;
    if (fault?.kind === "slow")
      await sleep((1000 * part.length) / fault.bytesPerS, undefined, { ref: false });
  }
  response.end();
}

/** Node resets plain connections only; one with TLS just ends without a farewell. */
function breakOff(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

/** A single range; several at once are answered with the whole, as allowed. */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | "unsatisfiable" | null {
  const found = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (found === null || (found[1] === "" && found[2] === "")) return null;
  const [, from = "", to = ""] = found;
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size : Math.min(size, Number(to) + 1);
  return start >= size || end <= start ? "unsatisfiable" : { start, end };
}

async function* readContent(
  content: { file: string } | Buffer,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(content)) {
    if (end > start) yield Buffer.from(content.subarray(start, end));
    return;
  }
  const handle = await open(content.file);
  try {
    for (let at = start; at < end; ) {
      const chunk = Buffer.alloc(Math.min(chunkBytes, end - at));
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, at);
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** Resolves when the bytes are out of our hands, or when the other side has gone. */
export async function write(response: ServerResponse, part: Buffer): Promise<void> {
  if (response.destroyed || response.write(part)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}
