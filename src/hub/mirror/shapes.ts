/** The JSON in which the Hugging Face protocol describes a repository and its files. Pure; a shape is all it makes. */
import type { RepoFile } from "../../core/deployment.ts";
import type { RepoListing } from "../../ports/hub.ts";

/** `/api/models/{repo}`. What Berth does not know (likes, dates, tags) is left out or empty. */
export function infoOf({ repo, commit, files }: RepoListing, withBlobs: boolean): object {
  return {
    _id: commit.slice(0, 24),
    id: repo,
    modelId: repo,
    author: repo.split("/")[0],
    sha: commit,
    private: false,
    gated: false,
    disabled: false,
    downloads: 0,
    likes: 0,
    tags: [],
    siblings: files.map((file) => ({
      rfilename: file.path,
      ...(withBlobs ? { size: file.bytes, blobId: file.gitOid, ...largeFile(file, "sha256") } : {}),
    })),
  };
}

/** The entries below `folder` as `/tree` lists them: folders, then files. */
export function treeOf(files: readonly RepoFile[], folder: string, isRecursive: boolean): object[] {
  const prefix = folder === "" ? "" : `${folder}/`;
  const inside = files.filter(({ path }) => path.startsWith(prefix));
  const folders = new Set<string>();
  for (const { path } of inside) {
    const parts = path.slice(prefix.length).split("/").slice(0, -1);
    const depth = isRecursive ? parts.length : Math.min(1, parts.length);
    for (let end = 1; end <= depth; end += 1) folders.add(prefix + parts.slice(0, end).join("/"));
  }
  const shown = inside.filter(({ path }) => isRecursive || !path.slice(prefix.length).includes("/"));
  return [
    ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
    ...shown.map((file) => ({
      type: "file",
      oid: file.gitOid ?? file.sha256,
      size: file.bytes,
      ...largeFile(file, "oid"),
      path: file.path,
    })),
  ];
}

/** What llama.cpp is told of the file that a tag stands for. */
export function manifestOf(file: RepoFile): object {
  return {
    schemaVersion: 2,
    ggufFile: {
      rfilename: file.path,
      size: file.bytes,
      blobId: file.gitOid ?? file.sha256,
      ...largeFile(file, "sha256"),
    },
  };
}

function largeFile({ sha256, bytes }: RepoFile, hashName: "oid" | "sha256"): object {
  if (sha256 === null) return {};
  const pointerSize = pointerOf(sha256, bytes).length;
  return { lfs: { [hashName]: sha256, size: bytes, pointerSize } };
}

/** What git keeps in the place of a large file. */
export function pointerOf(sha256: string, bytes: number): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${bytes}\n`;
}

/** The default branch alone: others are known by name only when somebody asks for them. */
export function refsOf({ commit }: RepoListing): object {
  const main = { name: "main", ref: "refs/heads/main", targetCommit: commit };
  return { branches: [main], converts: [], tags: [] };
}
