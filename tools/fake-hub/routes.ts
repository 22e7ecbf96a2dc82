/**
 * The answers of the stand-in: which path asks for what, who may have it, and what goes wrong on order. Owns the
 * protocol's status codes and headers; does not listen.
 */
import { createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Access, type Refusal, readAccess, refuse } from "./access.ts";
import { sendBody } from "./body.ts";
import { createFaultBox, type Fault } from "./faults.ts";
import { infoOf, treeOf } from "./listing.ts";
import { openRepositories, type RepoEntry, type Snapshot } from "./repositories.ts";
import type { FakeHubOptions, SeenRequest } from "./server.ts";

type Question = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly token: string | null;
};

const maxControlBytes = 1024 * 1024;

type Route = readonly [RegExp, (question: Question, parts: string[]) => Promise<void>];

export class HubRoutes {
  /** Every request so far, oldest first. */
  readonly requests: SeenRequest[] = [];
  /** Bytes of bodies from storage that were sent, or tried to. */
  sentBytes = 0;
  /** Origin of the signed addresses; set once it is known. */
  storageUrl = "";
  readonly #options: FakeHubOptions;
  readonly #pageSize: number;
  readonly #repositories: ReturnType<typeof openRepositories>;
  readonly #faults = createFaultBox();
  readonly #signingKey = randomBytes(32);
  /** Storage knows content by its hash, as the real one does. */
  readonly #stored = new Map<string, RepoEntry>();
  readonly #routes: readonly Route[] = [
    [/^\/_fake\/faults$/, (question) => this.#control(question)],
    [/^\/_fake\/requests$/, async ({ response }) => sendJson(response, 200, this.requests)],
    [/^\/storage\/([0-9a-f]{64})$/, (question, parts) => this.#serveStored(question, parts)],
    [
      /^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/,
      (question, parts) => this.#serveCached(question, parts),
    ],
    [/^\/api\/models\/([^/]+\/[^/]+)$/, (question, [repo = ""]) => this.#serveInfo(question, repo, "main")],
    [
      /^\/api\/models\/([^/]+\/[^/]+)\/revision\/([^/]+)$/,
      (question, [repo = "", revision = ""]) => this.#serveInfo(question, repo, revision),
    ],
    [
      /^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/]+)(?:\/(.*))?$/,
      (question, parts) => this.#serveTree(question, parts),
    ],
    [
      /^\/([^/]+\/[^/]+)\/(resolve|raw)\/([^/]+)\/(.+)$/,
      (question, parts) => this.#serveFile(question, parts),
    ],
  ];

  constructor(options: FakeHubOptions) {
    this.#options = options;
    this.#pageSize = options.pageSize ?? 1000;
    this.#repositories = openRepositories(options.root);
    this.setFaults(options.faults ?? []);
  }

  setFaults(faults: readonly Fault[]): void {
    this.#faults.set(faults);
  }

  async handle(request: IncomingMessage, response: ServerResponse, at: "hub" | "storage") {
    const method = request.method ?? "GET";
    const decoded = decode(request.url ?? "/");
    const authorization = request.headers.authorization ?? null;
    if (!decoded.startsWith("/_fake/")) {
      this.requests.push({ method, url: decoded, range: request.headers.range ?? null, authorization, at });
      if (this.#answerWithFault(request, response, method, decoded)) return;
      const late = this.#faults.take(["late"], method, decoded);
      if (late !== null) await sleep(late.waitMs, undefined, { ref: false });
    }
    const url = new URL(request.url ?? "/", `http://${request.headers.host ?? "localhost"}`);
    const token = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? null;
    for (const [pattern, serve] of this.#routes) {
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

  #answerWithFault(
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    decoded: string,
  ): boolean {
    const fault = this.#faults.take(["status", "redirect", "body", "silence"], method, decoded);
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
  async #find(
    question: Question,
    repo: string,
    revision: string,
    wantsContent: boolean,
  ): Promise<{ snapshot: Snapshot; access: Access } | null> {
    const access = await readAccess(this.#options.root);
    const exists = (await this.#repositories.revisions(repo)).length > 0;
    const refusal = refuse(access, { repo, token: question.token, exists, wantsContent });
    const snapshot = refusal === null ? await this.#repositories.snapshot(repo, revision) : null;
    if (snapshot !== null) return { snapshot, access };
    sendRefusal(
      question.response,
      refusal ?? { status: 404, code: "RevisionNotFound", message: `Invalid rev id: ${revision}` },
    );
    return null;
  }

  async #serveInfo(question: Question, repo: string, revision: string): Promise<void> {
    const found = await this.#find(question, repo, revision, false);
    if (found === null) return;
    const withBlobs = isTrue(question.url.searchParams.get("blobs"));
    const info = await infoOf(repo, found.snapshot, found.access, withBlobs);
    sendJson(question.response, 200, info);
  }

  async #serveTree(question: Question, parts: string[]): Promise<void> {
    const [repo = "", revision = "", folder = ""] = parts;
    const found = await this.#find(question, repo, revision, false);
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
    const limit = Math.max(
      1,
      Math.min(this.#pageSize, Number(url.searchParams.get("limit") ?? this.#pageSize)),
    );
    const cursor = url.searchParams.get("cursor");
    const start = cursor === null ? 0 : Number(Buffer.from(cursor, "base64url").toString());
    const next = new URL(url);
    next.searchParams.set("cursor", Buffer.from(String(start + limit)).toString("base64url"));
    const link = start + limit < all.length ? { link: `<${next.href}>; rel="next"` } : {};
    sendJson(response, 200, all.slice(start, start + limit), link);
  }

  async #serveFile(question: Question, parts: string[]): Promise<void> {
    const [repo = "", kind = "", revision = "", path = ""] = parts;
    const found = await this.#find(question, repo, revision, true);
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
      return await sendBody(request, response, content, { ...commit, etag: `"${entry.oid}"` }, this.#faults);
    }
    const etag = this.#faults.take(["etag"], request.method ?? "", decode(request.url ?? ""))?.value;
    const linked = {
      ...commit,
      "x-linked-size": String(entry.size),
      "x-linked-etag": `"${etag ?? entry.lfs?.sha256 ?? entry.oid}"`,
      "accept-ranges": "bytes",
    };
    const location =
      entry.lfs === null
        ? `/api/resolve-cache/models/${repo}/${snapshot.commit}/${encodeURIComponent(path)}`
        : this.#sign(entry, entry.lfs.sha256);
    response.writeHead(entry.lfs === null ? 307 : 302, { ...linked, location }).end();
  }

  /** Where the hub itself keeps small files; access is checked again, as it is asked with the token. */
  async #serveCached(question: Question, parts: string[]): Promise<void> {
    const [repo = "", commit = "", path = ""] = parts;
    const found = await this.#find(question, repo, commit, true);
    if (found === null) return;
    const entry = found.snapshot.entries.find((one) => one.path === path);
    const { request, response } = question;
    if (entry === undefined) {
      return sendRefusal(response, { status: 404, code: "EntryNotFound", message: "Entry not found" });
    }
    const headers = { "x-repo-commit": commit, etag: `"${entry.oid}"` };
    await sendBody(request, response, entry, headers, this.#faults);
  }

  #sign(entry: RepoEntry, sha256: string): string {
    this.#stored.set(sha256, entry);
    const url = new URL(`/storage/${sha256}`, this.storageUrl);
    const name = entry.path.split("/").at(-1) ?? "";
    url.searchParams.set("response-content-disposition", `inline; filename="${name}";`);
    url.searchParams.set("Expires", String(Date.now() + (this.#options.signatureMs ?? 3_600_000)));
    url.searchParams.set("Signature", this.#signatureOf(url));
    return url.href;
  }

  #signatureOf(url: URL): string {
    const signed = `${url.pathname} ${url.searchParams.get("Expires")}`;
    return createHmac("sha256", this.#signingKey).update(signed).digest("base64url");
  }

  async #serveStored({ request, response, url }: Question, parts: string[]): Promise<void> {
    const entry = this.#stored.get(parts[0] ?? "");
    const isFresh = Number(url.searchParams.get("Expires")) > Date.now();
    if (entry === undefined || !isFresh || url.searchParams.get("Signature") !== this.#signatureOf(url)) {
      response.writeHead(403, { "content-type": "application/xml" });
      response.end("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
      return;
    }
    await sendBody(request, response, entry, { etag: `"${parts[0]}"` }, this.#faults, (bytes) => {
      this.sentBytes += bytes;
    });
  }

  async #control({ request, response }: Question): Promise<void> {
    let text = "";
    for await (const chunk of request) {
      text += String(chunk);
      if (text.length > maxControlBytes) return sendJson(response, 413, { error: "too long" });
    }
    this.#faults.set(JSON.parse(text) as Fault[]);
    sendJson(response, 200, {});
  }
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
