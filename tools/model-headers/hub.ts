/**
 * A stand-in for a Hugging Face endpoint with repositories of any size that exist as headers alone: what is asked beyond
 * them is zeros, and is counted. Answers as late as a server far away would: a round trip for each request, two more for
 * each new connection. For tests and measurements of what is known of a model before its weights are fetched.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ggufHeaderOf } from "./gguf.ts";
import { bytesOfTensor, headerOf, type ModelShape, type Tensor, tensorsOf } from "./tensors.ts";

export type HeaderRepo = {
  readonly name: string;
  readonly config: ModelShape & Readonly<Record<string, unknown>>;
  /** Weight files that the tensors are spread over; `gguf`: one file of that format. */
  readonly shards: number | "gguf";
};

export type HeaderHub = {
  readonly url: string;
  /** Bytes of bodies, of files and listings. */
  sentBytes(): number;
  requests(): number;
  connections(): number;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

type File = { readonly path: string; readonly head: Buffer; readonly bytes: number; readonly sha256: string };
type Repo = { readonly commit: string; readonly files: readonly File[] };

/** TCP and TLS 1.3 take one round trip each before the first request can be sent. */
const tripsToConnect = 2;

export async function startHeaderHub(repos: readonly HeaderRepo[], roundTripMs = 0): Promise<HeaderHub> {
  const known = new Map(repos.map((repo) => [repo.name, layOut(repo)]));
  const counts = { sentBytes: 0, requests: 0, connections: 0 };
  const met = new WeakSet<Socket>();

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === "/_counts") {
      response.end(JSON.stringify(counts));
      return;
    }
    counts.requests += 1;
    const isNew = !met.has(request.socket);
    met.add(request.socket);
    await sleep(roundTripMs * (1 + (isNew ? tripsToConnect : 0)));
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://hub").pathname);
    const send = (status: number, body: Buffer, headers: Readonly<Record<string, string>> = {}) => {
      counts.sentBytes += body.byteLength;
      response.writeHead(status, { "content-length": String(body.byteLength), ...headers }).end(body);
    };
    const [, name = "", rest = ""] = /^\/(?:api\/models\/)?([^/]+\/[^/]+)(.*)$/.exec(path) ?? [];
    const repo = known.get(name);
    if (repo === undefined) return send(404, Buffer.from("{}"));
    if (path.startsWith("/api/")) return send(200, Buffer.from(JSON.stringify(describe(name, repo, rest))));
    const [, kind = "", filePath = ""] = /^\/(resolve|stored)\/[^/]+\/(.+)$/.exec(rest) ?? [];
    const file = repo.files.find((one) => one.path === filePath);
    if (file === undefined) return send(404, Buffer.from("{}"));
    // Large files are elsewhere, as at the real one.
    if (kind === "resolve" && file.head.byteLength < file.bytes)
      return send(302, Buffer.alloc(0), { location: `/${name}/stored/main/${file.path}` });
    const { start, end } = rangeOf(request.headers.range, file.bytes);
    send(206, bytesOf(file, start, end), { "content-range": `bytes ${start}-${end - 1}/${file.bytes}` });
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  });
  server.on("connection", () => {
    counts.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sentBytes: () => counts.sentBytes,
    requests: () => counts.requests,
    connections: () => counts.connections,
    close: () => endServer(server),
    [Symbol.asyncDispose]: () => endServer(server),
  };
}

async function endServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Tensors in their order, a file full after a file. */
function layOut({ name, config, shards }: HeaderRepo): Repo {
  const files = shards === "gguf" ? [ggufFile(config)] : safetensorsFiles(config, shards);
  return { commit: hash("sha1", `${name} ${files.map(({ sha256 }) => sha256).join()}`), files };
}

function ggufFile(config: ModelShape): File {
  const { head, bytes } = ggufHeaderOf(config);
  return { path: "model.Q8_0.gguf", head, bytes, sha256: hash("sha256", head.toString("hex")) };
}

function safetensorsFiles(config: HeaderRepo["config"], shards: number): File[] {
  const tensors = tensorsOf(config);
  const total = tensors.reduce((sum, tensor) => sum + bytesOfTensor(tensor), 0);
  const groups: Tensor[][] = Array.from({ length: shards }, () => []);
  let before = 0;
  for (const tensor of tensors) {
    groups[Math.min(shards - 1, Math.floor((before / total) * shards))]?.push(tensor);
    before += bytesOfTensor(tensor);
  }
  const { architecture, quant_method: method, bits, ...sizes } = config;
  const quantized = method === undefined ? {} : { quantization_config: { quant_method: method, bits } };
  return [
    wholeFile("config.json", JSON.stringify({ architectures: [architecture], ...sizes, ...quantized })),
    wholeFile("tokenizer_config.json", JSON.stringify({ chat_template: "{{ messages }}" })),
    ...groups.map((some, index) => shard(`${fileName(index, shards)}`, some)),
  ];
}

function fileName(index: number, shards: number): string {
  const five = (number: number) => String(number).padStart(5, "0");
  return `model-${five(index + 1)}-of-${five(shards)}.safetensors`;
}

function wholeFile(path: string, text: string): File {
  const head = Buffer.from(text);
  return { path, head, bytes: head.byteLength, sha256: hash("sha256", text) };
}

function shard(path: string, tensors: readonly Tensor[]): File {
  const { json, dataBytes } = headerOf(tensors);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  const head = Buffer.concat([length, Buffer.from(json)]);
  return { path, head, bytes: head.byteLength + dataBytes, sha256: hash("sha256", `${path} ${json}`) };
}

function describe(name: string, { commit, files }: Repo, rest: string): unknown {
  if (!rest.startsWith("/tree/")) return { id: name, sha: commit, gated: false, private: false };
  return files.map(({ path, bytes, sha256 }) => ({
    type: "file",
    path,
    size: bytes,
    oid: hash("sha1", path),
    lfs: { oid: sha256, size: bytes, pointerSize: 135 },
  }));
}

function rangeOf(header: string | undefined, bytes: number): { start: number; end: number } {
  const found = /^bytes=(\d+)-(\d+)$/.exec(header ?? "");
  return found === null
    ? { start: 0, end: bytes }
    : { start: Number(found[1]), end: Math.min(bytes, Number(found[2]) + 1) };
}

/** What nobody should want, a file's weights, is a few bytes at most. */
function bytesOf({ head }: File, start: number, end: number): Buffer {
  const inside = head.subarray(start, end);
  return Buffer.concat([inside, Buffer.alloc(Math.min(end - start, 2 ** 24) - inside.byteLength)]);
}

function hash(algorithm: "sha1" | "sha256", text: string): string {
  return createHash(algorithm).update(text).digest("hex");
}
