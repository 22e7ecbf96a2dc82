/**
 * A Hugging Face endpoint as a source of repositories: resolves revisions, lists files, opens files at an offset, and
 * turns its refusals into sentences. Reads answers as hostile input: bounded in size, pages and names. Must not touch
 * the disk; what it opens is verified by the downloader.
 */
import { z } from "zod";
import type { RepoFile } from "../core/deployment.ts";
import { isCommit } from "../core/repo.ts";
import type { RepoListing } from "../ports/hub.ts";
import { type Answer, type ClientOptions, HubClient, type Place } from "./client.ts";
import {
  badListing,
  fileChanged,
  fileGone,
  Hiccup,
  type HubError,
  repoGated,
  repoNotFound,
  revisionNotFound,
  tokenRefused,
  unreachable,
} from "./failures.ts";
import { blobName, isFilePath } from "./names.ts";
import type { Range } from "./ranges.ts";
import { parseRetryAfter, type RetryRule, retrying } from "./retry.ts";
import { type OpenedFile, type OpenFile, type ReadRange, readerOf } from "./source.ts";
import { Wire } from "./wire.ts";

const maxPages = 500;
const maxFiles = 50_000;
/** Largest JSON answer that is read, bytes: thousands of files with long names fit many times. */
const maxJsonBytes = 16 * 1024 * 1024;

const infoShape = z.object({
  sha: z.string().refine(isCommit),
  gated: z.union([z.boolean(), z.string()]).optional(),
});
const sizeShape = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const entryShape = z.object({
  type: z.string(),
  path: z.string(),
  oid: z.string().optional(),
  size: sizeShape.optional(),
  lfs: z.object({ oid: z.string(), size: sizeShape }).nullish(),
});
type Entry = z.output<typeof entryShape>;

/** What a refusal is told from. */
type Refusing = Pick<Answer, "status" | "header" | "redirected">;
/** An answer about a file's bytes, whoever brought it. */
type FileAnswer = Refusing & Pick<OpenedFile, "read" | "close">;

/** Who asks for what: goes into every sentence that reaches a person. */
type Subject = {
  /** `owner/name` */
  readonly repo: string;
  readonly revision: string;
  readonly token: string | null;
};

/** One server. Every method throws HubError for what is final; aborting throws the signal's reason. */
export class Endpoint {
  /** Host and port, for sentences. */
  readonly host: string;
  readonly #client: HubClient;
  readonly #wire: Wire;
  readonly #rule: RetryRule;

  constructor(options: ClientOptions, rule: RetryRule) {
    this.#client = new HubClient(options);
    this.host = this.#client.endpoint.host;
    this.#wire = new Wire({ ...options, endpointOrigin: this.#client.endpoint.origin });
    this.#rule = rule;
  }

  /** Resolves a revision (null: the default branch) to a commit and lists its files. */
  async list(
    repo: string,
    revision: string | null,
    token: string | null,
    signal: AbortSignal,
  ): Promise<RepoListing> {
    const subject: Subject = { repo, revision: revision ?? "main", token };
    const suffix = revision === null ? "" : `/revision/${encodeURIComponent(revision)}`;
    const { json } = await this.#askJson(`/api/models/${repo}${suffix}`, subject, signal);
    const info = infoShape.safeParse(json);
    if (!info.success) throw badListing(repo, this.host, "it names no commit");
    const commit = info.data.sha;
    const files = await this.#listFiles({ ...subject, revision: commit }, signal);
    const gated = info.data.gated ?? false;
    if (gated !== false) await this.#checkAccess(subject, commit, files, signal);
    return { repo, commit, files };
  }

  async #listFiles(subject: Subject, signal: AbortSignal): Promise<RepoFile[]> {
    const files: RepoFile[] = [];
    let next: string | null =
      `/api/models/${subject.repo}/tree/${subject.revision}?recursive=true&expand=false`;
    for (let page = 0; next !== null; page += 1) {
      if (page >= maxPages) throw badListing(subject.repo, this.host, `it has more than ${maxPages} pages`);
      const { json, link } = await this.#askJson(next, subject, signal);
      const entries = z.array(entryShape).safeParse(json);
      if (!entries.success) throw badListing(subject.repo, this.host, "it is not a list of files");
      for (const entry of entries.data) {
        if (entry.type === "file") files.push(this.#readEntry(entry, subject.repo));
        if (files.length > maxFiles)
          throw badListing(subject.repo, this.host, `it has more than ${maxFiles} files`);
      }
      next = this.#nextPage(link, subject.repo);
    }
    return files;
  }

  #readEntry(entry: Entry, repo: string): RepoFile {
    if (!isFilePath(entry.path)) {
      throw badListing(
        repo,
        this.host,
        `it has a file name that is not allowed, ${JSON.stringify(entry.path.slice(0, 100))}`,
      );
    }
    const bytes = entry.lfs?.size ?? entry.size;
    if (bytes === undefined) throw badListing(repo, this.host, `it gives no size for ${entry.path}`);
    const file: RepoFile = {
      path: entry.path,
      bytes,
      sha256: entry.lfs?.oid ?? null,
      gitOid: entry.oid ?? null,
    };
    if (blobName(file) === null) throw badListing(repo, this.host, `it gives no hash for ${entry.path}`);
    return file;
  }

  /** The next page must be at the endpoint too: the token goes along. */
  #nextPage(link: string | null, repo: string): string | null {
    const found = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link ?? "")?.[1];
    if (found === undefined) return null;
    const { base, origin } = this.#client.endpoint;
    if (!URL.canParse(found, base) || new URL(found, base).origin !== origin) {
      throw badListing(repo, this.host, "its next page is at another server");
    }
    return new URL(found, base).href;
  }

  /** The listing of a gated repository is public, its files are not: asks for one, so that a refusal comes early. */
  async #checkAccess(
    subject: Subject,
    commit: string,
    files: readonly RepoFile[],
    signal: AbortSignal,
  ): Promise<void> {
    const largest = files.toSorted((a, b) => b.bytes - a.bytes)[0];
    if (largest === undefined) return;
    await retrying(this.#rule, this.host, signal, async () => {
      const answer = await this.#client.ask(
        {
          method: "HEAD",
          target: filePath(subject.repo, commit, largest.path),
          token: subject.token,
          leaveEndpoint: false,
        },
        signal,
      );
      await answer.discard();
      if (answer.status >= 400) throw this.#refusal(answer, subject, largest.path);
    });
  }

  async #askJson(
    target: string,
    subject: Subject,
    signal: AbortSignal,
  ): Promise<{ json: unknown; link: string | null }> {
    return await retrying(this.#rule, this.host, signal, async () => {
      const answer = await this.#client.ask(
        { method: "GET", target, token: subject.token, leaveEndpoint: true },
        signal,
      );
      if (answer.status !== 200) {
        await answer.discard();
        throw this.#refusal(answer, subject, null);
      }
      return { json: await this.#readJson(answer, subject.repo), link: answer.header("link") };
    });
  }

  async #readJson(answer: Answer, repo: string): Promise<unknown> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of answer.body) {
      bytes += chunk.byteLength;
      if (bytes > maxJsonBytes) throw badListing(repo, this.host, "it is too long");
      chunks.push(chunk);
    }
    try {
      return JSON.parse(Buffer.concat(chunks).toString("utf8"));
    } catch {
      throw badListing(repo, this.host, "it is not JSON");
    }
  }

  /**
   * Opens files of one commit. Where a file's bytes are is asked for once and again when that place refuses, as signed
   * addresses expire. Throws Hiccup for what may pass, HubError for a refusal.
   */
  opener(repo: string, commit: string, token: string | null): OpenFile {
    const subject: Subject = { repo, revision: commit, token };
    const places = new Map<string, Promise<Place | null>>();
    const headersOf = ({ start, end }: Range, file: RepoFile): Record<string, string> =>
      start === 0 && end === file.bytes ? {} : { range: `bytes=${start}-${end - 1}` };
    const askEndpoint = async (file: RepoFile, range: Range, signal: AbortSignal) => {
      const target = filePath(repo, commit, file.path);
      const headers = headersOf(range, file);
      const asked = this.#client.ask({ method: "GET", target, token, headers, leaveEndpoint: true }, signal);
      const place = asked.then(
        (answer) => (answer.status < 300 ? answer.place : null),
        () => null,
      );
      places.set(file.path, place);
      const answer = await asked;
      if ((await place) === null) places.delete(file.path);
      return answer;
    };
    /** Asks where the file was before. Null: the endpoint has to say anew where it is. */
    const askPlace = async (place: Place, file: RepoFile, range: Range, signal: AbortSignal) => {
      const bearer = place.trusted && token !== null ? { authorization: `Bearer ${token}` } : {};
      const reply = await this.#wire.get(place, { ...headersOf(range, file), ...bearer }, signal);
      if (reply !== null && reply.status < 300) return reply;
      reply?.close();
      if (reply !== null && isPassing(reply.status)) throw this.#hiccup(reply);
      return null;
    };
    return async (file, range, signal) => {
      const asked = places.get(file.path);
      const known = (await asked) ?? null;
      if (known !== null) {
        try {
          const reply = await askPlace(known, file, range, signal);
          if (reply !== null) return this.#opened({ ...reply, redirected: true }, subject, file);
        } catch (error) {
          // The next try asks the endpoint, which may know a place that works.
          if (places.get(file.path) === asked) places.delete(file.path);
          throw error;
        }
      }
      const answer = await askEndpoint(file, range, signal);
      this.#requireSame(answer, file, repo);
      return this.#opened({ ...answer, read: readerOf(answer.body) }, subject, file);
    };
  }

  /** Reads parts of files of one commit, without their hashes being looked at. Retries; throws HubError. */
  reader(repo: string, commit: string, token: string | null): ReadRange {
    const subject: Subject = { repo, revision: commit, token };
    /** Where a part of a file came from, the next one comes from without the endpoint being asked again. */
    const places = new Map<string, Place>();
    return (file, start, end, signal) =>
      retrying(this.#rule, this.host, signal, async () => {
        const headers = { range: `bytes=${start}-${end - 1}` };
        const askAt = (target: string | Place) =>
          this.#client.ask({ method: "GET", target, token, headers, leaveEndpoint: true }, signal);
        const known = places.get(file.path);
        places.delete(file.path);
        let answer = await askAt(known ?? filePath(repo, commit, file.path));
        if (known !== undefined && answer.status !== 206) {
          // A signed address that has expired: the endpoint gives another.
          await answer.discard();
          answer = await askAt(filePath(repo, commit, file.path));
        }
        if (answer.status === 206) places.set(file.path, answer.place);
        const from = answer.header("content-range")?.startsWith(`bytes ${start}-`) === true ? start : 0;
        if (answer.status !== 206 && answer.status !== 200) {
          await answer.discard();
          throw this.#refusal(answer, subject, file.path);
        }
        if (from !== start) {
          answer.close();
          throw badListing(repo, this.host, "its files cannot be read in parts");
        }
        return await readStart(answer, end - start);
      });
  }

  /** The endpoint says with each redirect which content it leads to: another one than listed is noticed early. */
  #requireSame(answer: Answer, file: RepoFile, repo: string): void {
    const etag = answer.firstHeader("x-linked-etag")?.replace(/^(?:W\/)?"|"$/g, "") ?? "";
    if (file.sha256 === null || !/^[0-9a-f]{64}$/.test(etag) || etag === file.sha256) return;
    answer.close();
    throw fileChanged(repo, file.path, this.host);
  }

  #opened(answer: FileAnswer, subject: Subject, file: RepoFile): OpenedFile {
    const { read, close } = answer;
    if (answer.status === 200) return { offset: 0, bytesTotal: lengthOf(answer), read, close };
    if (answer.status === 206) {
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.header("content-range") ?? "");
      if (range !== null) {
        const total = range[2] === "*" ? null : Number(range[2]);
        return { offset: Number(range[1]), bytesTotal: total, read, close };
      }
    }
    close();
    const end = /^bytes \*\/(\d+)$/.exec(answer.header("content-range") ?? "")?.[1];
    if (answer.status === 416 && end !== undefined) {
      // More was asked for than the server has: its length decides what that means.
      return { offset: 0, bytesTotal: Number(end), read: async () => undefined, close: () => undefined };
    }
    throw this.#refusal(answer, subject, file.path);
  }

  #hiccup(answer: Pick<Refusing, "status" | "header">): Hiccup {
    const retryAfterMs = parseRetryAfter(answer.header("retry-after"), this.#rule.clock.now());
    return new Hiccup(`answered ${answer.status}`, retryAfterMs);
  }

  /** @param path the file that was asked for, null for a question about the repository */
  #refusal(answer: Refusing, subject: Subject, path: string | null): HubError | Hiccup {
    const { host } = this;
    const { status } = answer;
    const { repo, token } = subject;
    const code = answer.header("x-error-code");
    const text = answer.header("x-error-message") ?? "";
    if (code === "GatedRepo") return repoGated(repo, `${this.#client.endpoint.base}/${repo}`, token !== null);
    if (code === "RevisionNotFound") return revisionNotFound(repo, subject.revision);
    if (code === "EntryNotFound" && path !== null) return fileGone(repo, path);
    if (isPassing(status)) return this.#hiccup(answer);
    // A signed address that has expired; the next try asks the endpoint for a fresh one.
    if (answer.redirected && code === null && path !== null)
      return new Hiccup(`redirects to a place that answered ${status}`);
    if (/invalid credentials/i.test(text) || (status === 401 && token !== null))
      return tokenRefused(repo, host);
    if (status === 401 || status === 403 || status === 404) return repoNotFound(repo, host, token !== null);
    return unreachable(host, `answered ${status}`, 1);
  }
}

function filePath(repo: string, commit: string, path: string): string {
  return `/${repo}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** The first bytes of a body; a server that does not know ranges sends more. */
async function readStart(answer: Answer, bytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let left = bytes;
  for await (const chunk of answer.body) {
    chunks.push(chunk.subarray(0, left));
    left -= chunk.byteLength;
    if (left <= 0) break;
  }
  if (left > 0) throw new Hiccup("ended the transfer early");
  return Buffer.concat(chunks, bytes);
}

/** Statuses that say: not now. */
function isPassing(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

function lengthOf(answer: Pick<Answer, "header">): number | null {
  const header = answer.header("content-length");
  return header !== null && /^\d{1,16}$/.test(header) ? Number(header) : null;
}
