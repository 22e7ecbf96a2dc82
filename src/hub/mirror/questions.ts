/**
 * What a request in the Hugging Face protocol asks for, from its path; and which bytes a Range header means. Pure. Must
 * not answer.
 */
import { isRevision, parseRepo } from "../../core/repo.ts";
import { isFilePath } from "../names.ts";

export type Question =
  | {
      readonly kind: "info";
      readonly repo: string;
      readonly revision: string | null;
      readonly withBlobs: boolean;
    }
  | {
      readonly kind: "tree";
      readonly repo: string;
      readonly revision: string;
      /** Folder in the repository, "" for its root. */
      readonly folder: string;
      readonly isRecursive: boolean;
      readonly cursor: number;
      readonly limit: number;
    }
  | { readonly kind: "file"; readonly repo: string; readonly revision: string; readonly path: string }
  /** The file as git keeps it: of a large one, the pointer to it. */
  | { readonly kind: "raw"; readonly repo: string; readonly revision: string; readonly path: string }
  /** Which commit the default branch is at; llama.cpp begins with it. */
  | { readonly kind: "refs"; readonly repo: string }
  /** Older versions of llama.cpp ask which GGUF file a tag stands for. */
  | { readonly kind: "manifest"; readonly repo: string; readonly tag: string };

const maxPageSize = 1000;

/** Null for what is not in the protocol, or names what cannot exist. */
export function readQuestion(target: string): Question | null {
  const [path = "", search = ""] = target.split("?", 2);
  const query = new URLSearchParams(search);
  const parts = decodeParts(path);
  if (parts === null) return null;
  const [first = "", second = "", owner = "", name = "", verb = "", revision = "", ...rest] = parts;
  if (first === "api" && second === "models") {
    const repo = repoOf(owner, name);
    if (repo === null) return null;
    if (verb === "" && parts.length === 4)
      return { kind: "info", repo, revision: null, withBlobs: isTrue(query, "blobs") };
    if (verb === "refs" && parts.length === 5) return { kind: "refs", repo };
    if (!isRevision(revision)) return null;
    if (verb === "revision" && rest.length === 0)
      return { kind: "info", repo, revision, withBlobs: isTrue(query, "blobs") };
    if (verb !== "tree") return null;
    const folder = rest.join("/");
    if (folder !== "" && !isFilePath(folder)) return null;
    const limit = Math.min(maxPageSize, wholeNumber(query.get("limit")) ?? maxPageSize);
    const cursor = wholeNumber(query.get("cursor")) ?? 0;
    return {
      kind: "tree",
      repo,
      revision,
      folder,
      isRecursive: isTrue(query, "recursive"),
      cursor,
      limit: Math.max(1, limit),
    };
  }
  if (first === "v2") {
    const repo = repoOf(second, owner);
    return repo !== null && name === "manifests" && /^[\w.-]{1,64}$/.test(verb) && parts.length === 5
      ? { kind: "manifest", repo, tag: verb }
      : null;
  }
  return readFileQuestion(parts);
}

/** `/{owner}/{name}/resolve/{revision}/{path}`, or `raw` in the place of `resolve`. */
function readFileQuestion(parts: readonly string[]): Question | null {
  const [owner = "", name = "", verb = "", revision = "", ...rest] = parts;
  const repo = repoOf(owner, name);
  const path = rest.join("/");
  if (repo === null || !isRevision(revision) || !isFilePath(path)) return null;
  if (verb === "resolve") return { kind: "file", repo, revision, path };
  return verb === "raw" ? { kind: "raw", repo, revision, path } : null;
}

/** The segments of a path, each decoded by itself; null where the encoding is broken. */
function decodeParts(path: string): string[] | null {
  try {
    return path.replace(/^\//, "").split("/").map(decodeURIComponent);
  } catch {
    return null; // no name looks like that
  }
}

function repoOf(owner: string, name: string): string | null {
  const parsed = parseRepo(`${owner}/${name}`);
  return parsed === null || parsed.quantization !== null ? null : `${parsed.owner}/${parsed.name}`;
}

/** Python's client sends True. */
function isTrue(query: URLSearchParams, name: string): boolean {
  return /^(true|1)$/i.test(query.get(name) ?? "");
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/** `end` is not included. Several ranges at once, and what is no range of bytes, are answered with the whole file. */
export function readRange(
  header: string | null,
  bytes: number,
): { readonly start: number; readonly end: number } | "whole" | "unsatisfiable" {
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "");
  if (found === null || (found[1] === "" && found[2] === "")) return "whole";
  const [, from = "", to = ""] = found;
  const start = from === "" ? Math.max(0, bytes - Number(to)) : Number(from);
  const end = from === "" || to === "" ? bytes : Math.min(bytes, Number(to) + 1);
  return start >= bytes || end <= start ? "unsatisfiable" : { start, end };
}
