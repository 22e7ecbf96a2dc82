/**
 * A stand-in for a Hugging Face endpoint: serves a folder tree in the hub's protocol, with its redirects to signed
 * storage addresses, private and gated repositories, and faults to order. A program (`node tools/fake-hub/server.ts
 * --root DIR`) and a function for tests. See README.md for the folder's form. Not a mirror: it keeps no history.
 */
import { createHmac, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { type Access, type Refusal, readAccess, refuse } from "./access.ts";
import { sendBody } from "./body.ts";
import { createFaultBox, type Fault } from "./faults.ts";
import { infoOf, treeOf } from "./listing.ts";
import { openRepositories, type RepoEntry, type Snapshot } from "./repositories.ts";

export type FakeHubOptions = {
  readonly root: string;
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port?: number;
  /** Serve large files from a second port, as the real hub does from another host. */
  readonly separateStorage?: boolean;
  /** Files per page of a listing. */
  readonly pageSize?: number;
  /** How long a signed storage address is good, milliseconds. */
  readonly signatureMs?: number;
  readonly faults?: readonly Fault[];
};

export type SeenRequest = {
  readonly method: string;
  /** Decoded path and query. */
  readonly url: string;
  readonly range: string | null;
  readonly authorization: string | null;
  /** "hub" or "storage": which of the two ports was asked. */
  readonly at: "hub" | "storage";
};

export type FakeHub = {
  readonly url: string;
  /** Origin of the storage; the same as `url` unless it is separate. */
  readonly storageUrl: string;
  /** Every request so far, oldest first. */
  readonly requests: readonly SeenRequest[];
  setFaults(faults: readonly Fault[]): void;
  close(): Promise<void>;
};

type Question = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly token: string | null;
};

const maxControlBytes = 1024 * 1024;

export async function startFakeHub(options: FakeHubOptions): Promise<FakeHub> {
  const host = options.host ?? "127.0.0.1";
  const pageSize = options.pageSize ?? 1000;
  const repositories = openRepositories(options.root);
  const faults = createFaultBox();
  faults.set(options.faults ?? []);
  const signingKey = randomBytes(32);
  const requests: SeenRequest[] = [];
  /** Storage knows content by its hash, as the real one does. */
  const stored = new Map<string, RepoEntry>();

  const routes: readonly [RegExp, (question: Question, parts: string[]) => Promise<void>][] = [
    [/^\/_fake\/faults$/, control],
    [/^\/_fake\/requests$/, async ({ response }) => sendJson(response, 200, requests)],
    [/^\/storage\/([0-9a-f]{64})$/, serveStored],
    [/^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/, serveCached],
    [/^\/api\/models\/([^/]+\/[^/]+)$/, (question, [repo = ""]) => serveInfo(question, repo, "main")],
    [
      /^\/api\/models\/([^/]+\/[^/]+)\/revision\/([^/]+)$/,
      (question, [repo = "", revision = ""]) => serveInfo(question, repo, revision),
    ],
    [/^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/]+)(?:\/(.*))?$/, serveTree],
    [/^\/([^/]+\/[^/]+)\/(resolve|raw)\/([^/]+)\/(.+)$/, serveFile],
  ];

  async function handle(request: IncomingMessage, response: ServerResponse, at: "hub" | "storage") {
    const method = request.method ?? "GET";
    const decoded = decode(request.url ?? "/");
    const authorization = request.headers.authorization ?? null;
    if (!decoded.startsWith("/_fake/")) {
      requests.push({ method, url: decoded, range: request.headers.range ?? null, authorization, at });
      if (answerWithFault(request, response, method, decoded)) return;
    }
    const url = new URL(request.url ?? "/", `http://${request.headers.host ?? host}`);
    const token = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? null;
    for (const [pattern, serve] of routes) {
      const found = pattern.exec(url.pathname);
      if (found !== null)
        return await serve(
          { request, response, url, token },
          found.slice(1).map((part) => decode(part ?? "")),
        );
    }
    sendRefusal(response, {
      status: 404,
      code: null,
      message: "Sorry, we can't find the page you are looking for.",
    });
  }

  function answerWithFault(
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    decoded: string,
  ): boolean {
    const fault = faults.take(["status", "redirect", "body", "silence"], method, decoded);
    if (fault?.kind === "status") {
      const retryAfter = fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter };
      response.writeHead(fault.status, retryAfter).end();
    }
    if (fault?.kind === "redirect") response.writeHead(302, { location: fault.to ?? request.url }).end();
    if (fault?.kind === "body")
      response.writeHead(200, { "content-type": "application/json" }).end(fault.text);
    return fault !== null;
  }

  /** Finds the repository at a revision, or answers with the refusal and gives null. */
  async function find(
    question: Question,
    repo: string,
    revision: string,
    wantsContent: boolean,
  ): Promise<{ snapshot: Snapshot; access: Access } | null> {
    const access = await readAccess(options.root);
    const exists = (await repositories.revisions(repo)).length > 0;
    const refusal = refuse(access, { repo, token: question.token, exists, wantsContent });
    const snapshot = refusal === null ? await repositories.snapshot(repo, revision) : null;
    if (snapshot !== null) return { snapshot, access };
    sendRefusal(
      question.response,
      refusal ?? { status: 404, code: "RevisionNotFound", message: `Invalid rev id: ${revision}` },
    );
    return null;
  }

  async function serveInfo(question: Question, repo: string, revision: string): Promise<void> {
    const found = await find(question, repo, revision, false);
    if (found === null) return;
    const withBlobs = isTrue(question.url.searchParams.get("blobs"));
    const info = await infoOf(repo, found.snapshot, found.access, withBlobs);
    sendJson(question.response, 200, info);
  }

  async function serveTree(question: Question, parts: string[]): Promise<void> {
    const [repo = "", revision = "", folder = ""] = parts;
    const found = await find(question, repo, revision, false);
    if (found === null) return;
    const { url, response } = question;
    const all = treeOf(found.snapshot.entries, folder, isTrue(url.searchParams.get("recursive")));
    if (all.length === 0 && folder !== "") {
      return sendRefusal(response, {
        status: 404,
        code: "EntryNotFound",
        message: `${folder} does not exist`,
      });
    }
    const limit = Math.max(1, Math.min(pageSize, Number(url.searchParams.get("limit") ?? pageSize)));
    const cursor = url.searchParams.get("cursor");
    const start = cursor === null ? 0 : Number(Buffer.from(cursor, "base64url").toString());
    const next = new URL(url);
    next.searchParams.set("cursor", Buffer.from(String(start + limit)).toString("base64url"));
    const link = start + limit < all.length ? { link: `<${next.href}>; rel="next"` } : {};
    sendJson(response, 200, all.slice(start, start + limit), link);
  }

  async function serveFile(question: Question, parts: string[]): Promise<void> {
    const [repo = "", kind = "", revision = "", path = ""] = parts;
    const found = await find(question, repo, revision, true);
    if (found === null) return;
    const { snapshot } = found;
    const { request, response } = question;
    const commit = { "x-repo-commit": snapshot.commit };
    const entry = snapshot.entries.find((one) => one.path === path);
    if (entry === undefined) {
      return sendRefusal(
        response,
        { status: 404, code: "EntryNotFound", message: "Entry not found" },
        commit,
      );
    }
    if (kind === "raw") {
      const content = entry.lfs === null ? entry : Buffer.from(entry.lfs.pointer);
      return await sendBody(request, response, content, { ...commit, etag: `"${entry.oid}"` }, faults);
    }
    const linked = {
      ...commit,
      "x-linked-size": String(entry.size),
      "x-linked-etag": `"${entry.lfs?.sha256 ?? entry.oid}"`,
      "accept-ranges": "bytes",
    };
    const location =
      entry.lfs === null
        ? `/api/resolve-cache/models/${repo}/${snapshot.commit}/${encodeURIComponent(path)}`
        : sign(entry, entry.lfs.sha256);
    response.writeHead(entry.lfs === null ? 307 : 302, { ...linked, location }).end();
  }

  /** Where the hub itself keeps small files; access is checked again, as it is asked with the token. */
  async function serveCached(question: Question, parts: string[]): Promise<void> {
    const [repo = "", commit = "", path = ""] = parts;
    const found = await find(question, repo, commit, true);
    if (found === null) return;
    const entry = found.snapshot.entries.find((one) => one.path === path);
    const { request, response } = question;
    if (entry === undefined) {
      return sendRefusal(response, { status: 404, code: "EntryNotFound", message: "Entry not found" });
    }
    const headers = { "x-repo-commit": commit, etag: `"${entry.oid}"` };
    await sendBody(request, response, entry, headers, faults);
  }

  function sign(entry: RepoEntry, sha256: string): string {
    stored.set(sha256, entry);
    const url = new URL(`/storage/${sha256}`, storageUrl);
    const name = entry.path.split("/").at(-1) ?? "";
    url.searchParams.set("response-content-disposition", `inline; filename="${name}";`);
    url.searchParams.set("Expires", String(Date.now() + (options.signatureMs ?? 3_600_000)));
    url.searchParams.set("Signature", signatureOf(url));
    return url.href;
  }

  function signatureOf(url: URL): string {
    const signed = `${url.pathname} ${url.searchParams.get("Expires")}`;
    return createHmac("sha256", signingKey).update(signed).digest("base64url");
  }

  async function serveStored({ request, response, url }: Question, parts: string[]): Promise<void> {
    const entry = stored.get(parts[0] ?? "");
    const isFresh = Number(url.searchParams.get("Expires")) > Date.now();
    if (entry === undefined || !isFresh || url.searchParams.get("Signature") !== signatureOf(url)) {
      response.writeHead(403, { "content-type": "application/xml" });
      response.end("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
      return;
    }
    await sendBody(request, response, entry, { etag: `"${parts[0]}"` }, faults);
  }

  async function control({ request, response }: Question): Promise<void> {
    let text = "";
    for await (const chunk of request) {
      text += String(chunk);
      if (text.length > maxControlBytes) return sendJson(response, 413, { error: "too long" });
    }
    faults.set(JSON.parse(text) as Fault[]);
    sendJson(response, 200, {});
  }

  const hub = await listen(host, options.port ?? 0, (request, response) => handle(request, response, "hub"));
  const storage =
    options.separateStorage === true
      ? await listen(host, 0, (request, response) => handle(request, response, "storage"))
      : hub;
  const storageUrl = storage.url;

  return {
    url: hub.url,
    storageUrl,
    requests,
    setFaults: (wanted) => faults.set(wanted),
    async close() {
      await closeServer(hub.server);
      if (storage !== hub) await closeServer(storage.server);
    },
  };
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response
    .writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers })
    .end(JSON.stringify(body));
}

function sendRefusal(response: ServerResponse, refusal: Refusal, headers: Record<string, string> = {}): void {
  const code = refusal.code === null ? {} : { "x-error-code": refusal.code };
  sendJson(
    response,
    refusal.status,
    { error: refusal.message },
    {
      ...headers,
      ...code,
      "x-error-message": refusal.message,
    },
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Python's client sends True. */
function isTrue(value: string | null): boolean {
  return value !== null && value.toLowerCase() === "true";
}

async function listen(
  host: string,
  port: number,
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return { server, url: `http://${host}:${(server.address() as AddressInfo).port}` };
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      root: { type: "string" },
      port: { type: "string", default: "0" },
      host: { type: "string", default: "127.0.0.1" },
      faults: { type: "string" },
      "separate-storage": { type: "boolean", default: false },
    },
  });
  if (values.root === undefined) {
    console.error(
      "usage: node tools/fake-hub/server.ts --root DIR [--port 0] [--host 127.0.0.1] [--faults FILE] [--separate-storage]",
    );
    process.exit(2);
  }
  const fake = await startFakeHub({
    root: values.root,
    port: Number(values.port),
    host: values.host,
    separateStorage: values["separate-storage"],
    faults: values.faults === undefined ? [] : (JSON.parse(await readFile(values.faults, "utf8")) as Fault[]),
  });
  console.log(`fake-hub listening on ${fake.url}`);
}
