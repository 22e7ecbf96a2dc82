/**
 * Serves repositories in the Hugging Face protocol out of the cache, and fills it on demand, so that the internet sees
 * one download whoever asks. Every asker has the read rights of its account: what is public, and what the account's own
 * Hugging Face tokens may read, which the endpoint is asked; anything else looks absent. Must not authenticate; whoever
 * calls has done that.
 */
import type { RepoFile } from "../../core/deployment.ts";
import type { Failure } from "../../core/failure.ts";
import { isCommit } from "../../core/repo.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ChooseFiles, Hub, RepoListing } from "../../ports/hub.ts";
import type { Mirror, MirrorAnswer, MirrorQuestion } from "../../ports/mirror.ts";
import type { Cache } from "../cache.ts";
import type { Keeper } from "../keeper.ts";
import { blobName } from "../names.ts";
import { readArriving, readBlob, watchFetch } from "./arriving.ts";
import { type Question, readQuestion, readRange } from "./questions.ts";
import { infoOf, manifestOf, pointerOf, refsOf, treeOf } from "./shapes.ts";

export type MirrorOptions = {
  readonly hub: Hub;
  readonly cache: Cache;
  readonly keeper: Keeper;
  readonly chooseFiles: ChooseFiles;
  readonly clock: Clock;
  /** Hugging Face tokens with which this account may read the repository, likeliest first; null asks without one. */
  tokensOf(account: string, repo: string): Promise<readonly (string | null)[]>;
  /** What a deployment of this account is bound to of the repository: it has shown that it may read that. */
  boundTo(account: string, repo: string): Promise<readonly RepoListing[]>;
};

/** Longest time the endpoint may take to answer who may read what, milliseconds. */
const askForMs = 60_000;
/** How long an answer of the endpoint on who may read what holds, milliseconds. */
const rightsLastMs = 60_000;
const maxRemembered = 1000;

type Found = {
  readonly listing: RepoListing;
  readonly token: string | null;
  /** The endpoint is away: this is what it said when a deployment was bound. */
  readonly isOfLastTime: boolean;
};
type Look = Found | Failure;

export function createMirror(options: MirrorOptions): Mirror {
  const looks = new Map<string, { readonly look: Promise<Look>; readonly untilMs: number }>();

  /** Asks the endpoint with each token of the account in turn; remembers for a while what it said. */
  async function find(account: string, repo: string, revision: string | null): Promise<Look> {
    const key = JSON.stringify([account, repo, revision]);
    const known = looks.get(key);
    if (known !== undefined && known.untilMs > options.clock.now()) return await known.look;
    // Not ended by the asker: others may wait for the same answer.
    const look = ask(account, repo, revision, AbortSignal.timeout(askForMs));
    looks.delete(key);
    looks.set(key, { look, untilMs: options.clock.now() + rightsLastMs });
    for (const oldest of looks.keys()) {
      if (looks.size <= maxRemembered) break;
      looks.delete(oldest);
    }
    const forget = () => {
      if (looks.get(key)?.look === look) looks.delete(key);
    };
    // A refusal is not remembered: the token that was missing may come any moment.
    look.then((found) => ("listing" in found && !found.isOfLastTime) || forget(), forget);
    return await look;
  }

  async function ask(
    account: string,
    repo: string,
    revision: string | null,
    signal: AbortSignal,
  ): Promise<Look> {
    let refusal: Failure | null = null;
    for (const token of await options.tokensOf(account, repo)) {
      const listed = await options.hub.list({ repo, revision }, token, signal);
      if (listed.ok) return { listing: listed.value, token, isOfLastTime: false };
      // "Gated" says more than "not found", and is what the endpoint tells everybody.
      if (refusal === null || listed.failure.code === "repo_gated") refusal = listed.failure;
    }
    if (refusal === null) throw new Error("no way to ask for a repository was named");
    if (refusal.code !== "hub_unreachable") return refusal;
    // Nodes of a cluster must come up also when the internet is away: with what their account's deployments have here.
    const bound = await options.boundTo(account, repo);
    const listing =
      bound.find(({ commit }) => commit === revision) ?? (isCommit(revision ?? "") ? null : bound[0]);
    return listing === undefined || listing === null ? refusal : { listing, token: null, isOfLastTime: true };
  }

  async function answer(asked: MirrorQuestion, signal: AbortSignal): Promise<MirrorAnswer> {
    const question = readQuestion(asked.target);
    if (question === null) return refuse(404, null, "There is nothing at this path of the mirror.");
    const named = "revision" in question ? question.revision : null;
    // Clients that name no branch say HEAD.
    const revision = named === "HEAD" ? null : named;
    const found = await find(asked.account, question.repo, revision);
    if (!("listing" in found)) return refusalOf(found);
    return await answerFrom(found, question, asked, signal);
  }

  async function answerFrom(
    found: Found,
    question: Question,
    asked: MirrorQuestion,
    signal: AbortSignal,
  ): Promise<MirrorAnswer> {
    const { listing } = found;
    switch (question.kind) {
      case "info":
        return sendJson(infoOf(listing, question.withBlobs));
      case "refs":
        return sendJson(refsOf(listing));
      case "tree":
        return answerTree(listing, question, asked.baseUrl);
      case "manifest":
        return answerManifest(listing, question.tag, options.chooseFiles);
      case "raw":
      case "file": {
        const file = listing.files.find(({ path }) => path === question.path);
        const commit = { "x-repo-commit": listing.commit };
        if (file === undefined) return refuse(404, "EntryNotFound", "Entry not found", commit);
        if (question.kind === "raw" && file.sha256 !== null) {
          const type = { "content-type": "text/plain; charset=utf-8" };
          return { status: 200, headers: { ...commit, ...type }, body: pointerOf(file.sha256, file.bytes) };
        }
        return await answerFile(found, file, asked, signal);
      }
    }
  }

  async function answerFile(
    { listing, token }: Found,
    file: RepoFile,
    asked: MirrorQuestion,
    signal: AbortSignal,
  ): Promise<MirrorAnswer> {
    const blob = blobName(file) ?? "";
    const headers: Record<string, string> = {
      "x-repo-commit": listing.commit,
      etag: `"${blob}"`,
      "accept-ranges": "bytes",
      "content-type": "application/octet-stream",
      ...(file.sha256 === null ? {} : { "x-linked-etag": `"${blob}"`, "x-linked-size": String(file.bytes) }),
    };
    const range = readRange(asked.range, file.bytes);
    if (range === "unsatisfiable") {
      return { status: 416, headers: { ...headers, "content-range": `bytes */${file.bytes}` }, body: null };
    }
    const { start, end } = range === "whole" ? { start: 0, end: file.bytes } : range;
    headers["content-length"] = String(end - start);
    if (range !== "whole") headers["content-range"] = `bytes ${start}-${end - 1}/${file.bytes}`;
    const status = range === "whole" ? 200 : 206;
    const body = asked.method === "HEAD" ? null : await open(listing, file, blob, token, start, end, signal);
    return { status, headers, body };
  }

  async function open(
    { repo, commit }: RepoListing,
    file: RepoFile,
    blob: string,
    token: string | null,
    start: number,
    end: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const { hub, cache, keeper, clock } = options;
    const release = keeper.hold(repo, [blob]);
    try {
      if (await keeper.admit(repo, blob, file.bytes, clock.now(), signal))
        return readBlob(cache.blobPath(repo, blob), start, end);
    } finally {
      release();
    }
    const leave = new AbortController();
    const either = AbortSignal.any([signal, leave.signal]);
    const fetch = watchFetch(hub.fetch(repo, commit, [file], token, () => undefined, either));
    return endingWith(readArriving({ repo, file, blob, cache, clock, fetch }, start, end, either), () =>
      leave.abort(new Error("the asker has left")),
    );
  }

  return { answer };
}

/** Passes on, and tells when the reader has had enough or the end has come. */
async function* endingWith(body: AsyncIterable<Uint8Array>, onEnd: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } finally {
    onEnd();
  }
}

function answerTree(
  listing: RepoListing,
  question: Extract<Question, { kind: "tree" }>,
  baseUrl: string,
): MirrorAnswer {
  const { repo, revision, folder, isRecursive, cursor, limit } = question;
  const all = treeOf(listing.files, folder, isRecursive);
  if (all.length === 0 && folder !== "") return refuse(404, "EntryNotFound", `${folder} does not exist`);
  const isLast = cursor + limit >= all.length;
  // The next page is of the same commit, whatever becomes of the branch meanwhile.
  const at = isCommit(revision) ? revision : listing.commit;
  const query = new URLSearchParams({
    recursive: String(isRecursive),
    limit: String(limit),
    cursor: String(cursor + limit),
  });
  const path = folder === "" ? "" : `/${folder.split("/").map(encodeURIComponent).join("/")}`;
  const next = `${baseUrl}/api/models/${repo}/tree/${at}${path}?${query}`;
  return sendJson(all.slice(cursor, cursor + limit), isLast ? {} : { link: `<${next}>; rel="next"` });
}

function answerManifest(listing: RepoListing, tag: string, chooseFiles: ChooseFiles): MirrorAnswer {
  const gguf = { ...listing, files: listing.files.filter(({ path }) => /\.gguf$/i.test(path)) };
  const chosen = chooseFiles(gguf, tag === "latest" ? null : tag);
  if (!chosen.ok) return refuse(404, "EntryNotFound", `${chosen.failure.message} ${chosen.failure.next}`);
  const entry = chosen.value.files.find(({ path }) => path === chosen.value.entryFile);
  return entry === undefined ? refuse(404, "EntryNotFound", "Entry not found") : sendJson(manifestOf(entry));
}

function refusalOf(cause: Failure): MirrorAnswer {
  switch (cause.code) {
    case "repo_gated":
      return refuse(403, "GatedRepo", `${cause.message} ${cause.next}`);
    case "revision_not_found":
      return refuse(404, "RevisionNotFound", cause.message);
    case "repo_not_found":
      return refuse(404, "RepoNotFound", "Repository not found");
    default:
      return refuse(503, null, `${cause.message} ${cause.next}`, { "retry-after": "5" });
  }
}

function refuse(
  status: number,
  code: string | null,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): MirrorAnswer {
  // A header takes no line breaks and nothing beyond Latin-1.
  const printable = message.replace(/[^\x20-\x7e]+/g, " ").slice(0, 500);
  const more = { "x-error-message": printable, ...(code === null ? {} : { "x-error-code": code }) };
  return { ...sendJson({ error: message }, { ...headers, ...more }), status };
}

function sendJson(value: object, headers: Readonly<Record<string, string>> = {}): MirrorAnswer {
  return {
    status: 200,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(value),
  };
}
