/**
 * A hub for measurements, as a process of its own: repositories of random bytes that are never stored, because every file
 * is a view that wraps around one block in memory, so that sending costs the kernel's copy and nothing else. Speaks just
 * what downloaders ask for. Not for tests: it has no faults and no access rules (see tools/fake-hub for those).
 *
 *   node bench/hub/server.ts --files 8 --file-mib 512 [--bytes-per-s N]
 */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parseRange, write } from "../../tools/fake-hub/body.ts";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "8" },
    "file-mib": { type: "string", default: "512" },
    /** Limit of each connection; 0 for none. */
    "bytes-per-s": { type: "string", default: "0" },
  },
});
const mib = 1024 * 1024;
const fileBytes = Number(values["file-mib"]) * mib;
const bytesPerS = Number(values["bytes-per-s"]);
const block = randomBytes(32 * mib);
const commit = "c".repeat(40);
const stepBytes = 256 * 1024;

type File = { readonly path: string; readonly shift: number; readonly sha256: string };

const files: File[] = Array.from({ length: Number(values.files) }, (_, index) => {
  const shift = index * 4099;
  const hash = createHash("sha256");
  for (let at = 0; at < fileBytes; ) {
    const piece = viewOf(shift, at, fileBytes);
    hash.update(piece);
    at += piece.length;
  }
  return { path: `model-${index}.safetensors`, shift, sha256: hash.digest("hex") };
});

/** Bytes of a file from `at` on, as far as they are in one piece. */
function viewOf(shift: number, at: number, end: number): Buffer {
  const start = (shift + at) % block.length;
  return block.subarray(start, Math.min(block.length, start + Math.min(end - at, stepBytes)));
}

/** Body bytes that were handed to the kernel, and requests for bodies. */
let sentBytes = 0;
let bodies = 0;

async function sendFile(file: File, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const range = parseRange(request.headers.range, fileBytes);
  if (range === "unsatisfiable") return void response.writeHead(416).end();
  const { start, end } = range ?? { start: 0, end: fileBytes };
  response.writeHead(range === null ? 200 : 206, {
    "content-length": end - start,
    "accept-ranges": "bytes",
    // Python's client asks here for what the redirect said: this storage is at the hub itself.
    "x-repo-commit": commit,
    etag: `"${file.sha256}"`,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${fileBytes}` }),
  });
  if (request.method === "HEAD") return void response.end();
  bodies += 1;
  const startedAtMs = performance.now();
  for (let at = start; at < end && !response.destroyed; ) {
    const piece = viewOf(file.shift, at, end);
    at += piece.length;
    sentBytes += piece.length;
    await write(response, piece);
    if (bytesPerS === 0) continue;
    const dueMs = ((at - start) * 1000) / bytesPerS - (performance.now() - startedAtMs);
    if (dueMs > 1) await sleep(dueMs);
  }
  response.end();
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname === "/_bench") return sendJson(response, { sentBytes, bodies, files });
  if (/^\/api\/models\/[^/]+\/[^/]+(\/revision\/[^/]+)?$/.test(url.pathname)) {
    const siblings = files.map(({ path }) => ({ rfilename: path }));
    return sendJson(response, { id: "bench/model", sha: commit, private: false, gated: false, siblings });
  }
  if (/^\/api\/models\/[^/]+\/[^/]+\/tree\//.test(url.pathname)) {
    const entry = ({ path, sha256 }: File) => ({
      ...{ type: "file", path, oid: "0".repeat(40), size: fileBytes },
      lfs: { oid: sha256, size: fileBytes, pointerSize: 134 },
    });
    return sendJson(response, files.map(entry));
  }
  const stored = files.find(({ sha256 }) => url.pathname === `/storage/${sha256}`);
  if (stored !== undefined) return await sendFile(stored, request, response);
  const wanted = files.find(({ path }) => url.pathname.endsWith(`/${path}`));
  if (wanted === undefined) return void response.writeHead(404).end();
  const location = `/storage/${wanted.sha256}?Expires=0&Signature=bench`;
  response.writeHead(302, {
    ...{ location, "x-repo-commit": commit, "x-linked-size": fileBytes },
    ...{ "x-linked-etag": `"${wanted.sha256}"`, etag: `"${wanted.sha256}"`, "content-length": 0 },
  });
  response.end();
}

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
});
server.on("connection", (socket: Socket) => socket.setNoDelay(true));
server.listen(0, "127.0.0.1", () => {
  console.log(`bench hub listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
