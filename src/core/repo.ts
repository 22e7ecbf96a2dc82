/**
 * Names of models as users write them: Hugging Face repositories and revisions, and paths of this machine. Pure, and the one place that says which names
 * are acceptable: the API refuses the others with 422, the hub never lets them near a path or a URL. Must not know where
 * repositories are kept.
 */

/** What `owner/name[:QUANTIZATION]` says. */
export type RepoName = {
  readonly owner: string;
  readonly name: string;
  /** As written, for example "Q4_K_M" (compare without case); null when none was given. */
  readonly quantization: string | null;
};

/** What a repository name may be, for error messages. */
export const repoNameRule =
  "owner/name, optionally :QUANTIZATION; owner and name of at most 96 letters, digits, - _ . each, not starting or ending with - or ., without -- or ..";

/** What a revision may be, for error messages. */
export const revisionRule = "a branch, tag or commit of at most 200 letters, digits and - _ . + @ /";

const maxPartLength = 96;
// Word characters at both ends, as the hub's own clients demand; "--" separates owner and name in the cache layout.
const partPattern = /^\w(?:[\w.-]*\w)?$/;
const quantizationPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;
const revisionPattern = /^[A-Za-z0-9_][A-Za-z0-9_.+@/-]{0,199}$/;

/** Takes a repository name apart; null when it breaks `repoNameRule`. */
export function parseRepo(repo: string): RepoName | null {
  if (repo.length > 2 * maxPartLength + 34) return null;
  const [path = "", quantization = null, ...rest] = repo.split(":");
  const [owner = "", name = "", ...deeper] = path.split("/");
  if (rest.length > 0 || deeper.length > 0 || !isPart(owner) || !isPart(name)) return null;
  if (quantization !== null && !quantizationPattern.test(quantization)) return null;
  return { owner, name, quantization };
}

/** What a model on this machine's disk is named by. */
export type LocalName = {
  /** Absolute path of a folder or of one `.gguf` file, as text: nothing is known of the disk here. */
  readonly path: string;
  /** As in `file:///models/qwen:Q4_K_M`; null when none was given. */
  readonly quantization: string | null;
};

/** What a local name may be, for error messages. */
export const localNameRule =
  "file:///folder or file:///file.gguf, optionally :QUANTIZATION for a folder; absolute, without . or .. and at most 1000 characters";

const localScheme = "file://";
const maxLocalLength = 1000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const forbiddenInLocal = /[\u0000-\u001f\u007f\\]/;

/** True for what is meant as a model on this machine's disk, well formed or not. */
export function isLocal(repo: string): boolean {
  return repo.startsWith(localScheme);
}

/** Takes a local name apart; null when it breaks `localNameRule`. Percent signs mean themselves: it is a path, not a URL. */
export function parseLocal(repo: string): LocalName | null {
  if (!isLocal(repo) || repo.length > maxLocalLength || forbiddenInLocal.test(repo)) return null;
  const given = repo.slice(localScheme.length).replace(/(?<=.)\/$/, "");
  const colon = given.indexOf(":", given.lastIndexOf("/"));
  const quantization = colon === -1 ? null : given.slice(colon + 1);
  const path = colon === -1 ? given : given.slice(0, colon);
  if (quantization !== null && !quantizationPattern.test(quantization)) return null;
  const [root, ...parts] = path.split("/");
  const isPlain = parts.length > 0 && parts.every((part) => part !== "" && part !== "." && part !== "..");
  return root === "" && isPlain ? { path, quantization } : null;
}

/** The name without the quantization: `owner/name` or `file:///path`; null when it is not acceptable. */
export function plainName(repo: string): string | null {
  const local = parseLocal(repo);
  if (local !== null) return `${localScheme}${local.path}`;
  const parsed = parseRepo(repo);
  return parsed === null ? null : `${parsed.owner}/${parsed.name}`;
}

/** The quantization that a name asks for, null for none. */
export function quantizationOf(repo: string): string | null {
  return (parseLocal(repo) ?? parseRepo(repo))?.quantization ?? null;
}

/** True for a branch, tag or commit that is safe in a URL and in the cache: see `revisionRule`. */
export function isRevision(revision: string): boolean {
  if (!revisionPattern.test(revision)) return false;
  return revision
    .split("/")
    .every((part) => part !== "" && !part.includes("..") && !part.startsWith(".") && !part.endsWith("."));
}

/** True for a full commit id: 40 hex digits (sha1) or 64 (sha256), in lower case. */
export function isCommit(revision: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(revision);
}

function isPart(part: string): boolean {
  return (
    part.length <= maxPartLength &&
    partPattern.test(part) &&
    !part.includes("..") &&
    !part.includes("--") &&
    !part.toLowerCase().endsWith(".git")
  );
}
