/** The JSON in which the hub's API describes a repository and its files. Decides nothing; a shape is all it makes. */
import { readFile } from "node:fs/promises";
import type { Access } from "./access.ts";
import type { RepoEntry, Snapshot } from "./repositories.ts";

/** A repository as `/api/models/{repo}` describes it. */
export async function infoOf(
  repo: string,
  snapshot: Snapshot,
  access: Access,
  withBlobs: boolean,
): Promise<object> {
  const readme = snapshot.entries.find(({ path }) => path === "README.md");
  const card = readme === undefined ? "" : await readFile(readme.file, "utf8");
  const task = /^---\n[\s\S]*?^pipeline_tag:\s*([\w-]+)\s*$[\s\S]*?^---$/m.exec(card)?.[1];
  const modified = new Date(snapshot.modifiedMs).toISOString();
  return {
    _id: snapshot.commit.slice(0, 24),
    id: repo,
    modelId: repo,
    author: repo.split("/")[0],
    sha: snapshot.commit,
    lastModified: modified,
    createdAt: modified,
    private: access.private.includes(repo),
    gated: access.gated[repo] ?? false,
    disabled: false,
    downloads: 0,
    likes: 0,
    tags: [],
    ...(task === undefined ? {} : { pipeline_tag: task }),
    siblings: snapshot.entries.map((entry) => ({
      rfilename: entry.path,
      ...(withBlobs ? { size: entry.size, blobId: entry.oid, ...lfsField(entry, "sha256") } : {}),
    })),
  };
}

/** The entries below `folder` ("" for all) as `/tree` lists them: folders, then files. */
export function treeOf(entries: readonly RepoEntry[], folder: string, recursive: boolean): unknown[] {
  const prefix = folder === "" ? "" : `${folder.replace(/\/+$/, "")}/`;
  const inside = entries.filter(({ path }) => path.startsWith(prefix));
  const folders = new Set<string>();
  for (const { path } of inside) {
    const parts = path.slice(prefix.length).split("/").slice(0, -1);
    const depth = recursive ? parts.length : Math.min(1, parts.length);
    for (let end = 1; end <= depth; end += 1) folders.add(prefix + parts.slice(0, end).join("/"));
  }
  const files = inside.filter(({ path }) => recursive || !path.slice(prefix.length).includes("/"));
  return [
    ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
    ...files.map((entry) => ({
      type: "file",
      oid: entry.oid,
      size: entry.size,
      ...lfsField(entry, "oid"),
      path: entry.path,
    })),
  ];
}

function lfsField(entry: RepoEntry, hashName: "oid" | "sha256"): object {
  if (entry.lfs === null) return {};
  const { sha256, pointer } = entry.lfs;
  return { lfs: { [hashName]: sha256, size: entry.size, pointerSize: pointer.length } };
}
