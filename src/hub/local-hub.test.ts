import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ResolvedWeights } from "../core/deployment.ts";
import { weightFilesChooser } from "../engines/weight-files.ts";
import type { Hub, RepoListing } from "../ports/hub.ts";
import { createLocalHub } from "./local-hub.ts";

const signal = new AbortController().signal;
const chooseFiles = weightFilesChooser({ allowPickle: false });

let outer: string;
let root: string;
let hub: Hub;

function put(path: string, content = path): void {
  mkdirSync(join(outer, path, ".."), { recursive: true });
  writeFileSync(join(outer, path), content);
}

beforeEach(() => {
  outer = mkdtempSync(join(tmpdir(), "berth-local-"));
  root = join(outer, "models");
  put("models/qwen/config.json", "{}");
  put("models/qwen/sub/model.safetensors");
  put("models/qwen/.hidden");
  put("models/split-00001-of-00002.gguf");
  put("models/split-00002-of-00002.gguf");
  put("models/other.gguf");
  put("secret/model.gguf");
  hub = createLocalHub({ roots: [root, join(outer, "missing-root")], chooseFiles });
});
afterEach(() => rmSync(outer, { recursive: true, force: true }));

const list = (repo: string) => hub.list({ repo, revision: null }, null, signal);

async function listing(repo: string): Promise<RepoListing> {
  const outcome = await list(repo);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

describe("what is at a local name", () => {
  it("is every file of a folder that is not hidden, with its size", async () => {
    const { files, repo } = await listing(`file://${root}/qwen/`);
    expect(repo).toBe(`file://${root}/qwen`);
    expect(files.map(({ path, bytes }) => [path, bytes])).toEqual([
      ["config.json", 2],
      ["sub/model.safetensors", "models/qwen/sub/model.safetensors".length],
    ]);
    expect(hub.snapshotPath(`file://${root}/qwen`, "c")).toBe(join(root, "qwen"));
  });

  it("is one GGUF file, with all its parts where it has several, and not its neighbours", async () => {
    const paths = async (name: string) =>
      (await listing(`file://${root}/${name}`)).files.map(({ path }) => path);
    expect(await paths("other.gguf")).toEqual(["other.gguf"]);
    expect(await paths("split-00001-of-00002.gguf")).toEqual([
      "split-00001-of-00002.gguf",
      "split-00002-of-00002.gguf",
    ]);
    expect(hub.snapshotPath(`file://${root}/other.gguf`, "c")).toBe(root);
  });

  it("may be links, as in a cache of the Hugging Face tools, that stay within the allowed folders", async () => {
    put("models/blobs/hash", "weights");
    mkdirSync(join(root, "snapshot"));
    symlinkSync("../blobs/hash", join(root, "snapshot", "model.safetensors"));
    symlinkSync(join(outer, "secret", "model.gguf"), join(root, "snapshot", "stolen.gguf"));
    symlinkSync(".", join(root, "snapshot", "loop"));
    const { files } = await listing(`file://${root}/snapshot`);
    expect(files.map(({ path }) => path)).not.toContain("stolen.gguf");
    expect(files).toContainEqual({ path: "model.safetensors", bytes: 7, sha256: null, gitOid: null });
  });
});

describe("what is not allowed", () => {
  it("looks exactly like what is absent", async () => {
    symlinkSync(join(outer, "secret"), join(root, "way-out"));
    symlinkSync(join(outer, "secret", "model.gguf"), join(root, "way-out.gguf"));
    const absent = await list(`file://${root}/nothing.gguf`);
    for (const path of [
      `${outer}/secret/model.gguf`,
      `${outer}/secret`,
      `${root}/way-out`,
      `${root}/way-out.gguf`,
    ]) {
      const refused = await list(`file://${path}`);
      expect(refused.ok).toBe(false);
      expect(JSON.stringify(refused).replaceAll(path, "X")).toBe(
        JSON.stringify(absent).replaceAll(`${root}/nothing.gguf`, "X"),
      );
    }
  });

  it("includes everything where no folder is named, and the folder beside one whose name is longer", async () => {
    put("models-private/m.gguf");
    expect((await list(`file://${outer}/models-private/m.gguf`)).ok).toBe(false);
    hub = createLocalHub({ roots: [], chooseFiles });
    expect((await list(`file://${root}/other.gguf`)).ok).toBe(false);
  });
});

describe("a deployment of it", () => {
  const bind = ({ commit, files }: RepoListing): Pick<ResolvedWeights, "commit" | "files"> => ({
    commit,
    files,
  });

  it("stays bound to the files as they were", async () => {
    const name = `file://${root}/qwen`;
    const before = await listing(name);
    expect((await listing(name)).commit).toBe(before.commit);
    expect(await hub.changed(name, bind(before))).toBeNull();
    const fetched = await hub.fetch(name, before.commit, before.files, null, () => undefined, signal);
    expect(fetched).toEqual({ ok: true, value: null });

    utimesSync(join(root, "qwen", "config.json"), 1, 1);
    expect(await hub.changed(name, bind(before))).toMatchObject({ code: "revision_not_found" });
    expect(await hub.fetch(name, before.commit, before.files, null, () => undefined, signal)).toMatchObject({
      ok: false,
      failure: { message: expect.stringContaining("not what they were") },
    });
    rmSync(join(root, "qwen"), { recursive: true });
    expect(await hub.changed(name, bind(before))).toMatchObject({ code: "repo_not_found" });
  });

  it("can be looked at: headers are read in place", async () => {
    const header = JSON.stringify({ w: { dtype: "F16", shape: [2, 3], data_offsets: [0, 12] } });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    put("models/tiny/config.json", JSON.stringify({ model_type: "llama", num_hidden_layers: 3 }));
    writeFileSync(
      join(root, "tiny", "model.safetensors"),
      Buffer.concat([length, Buffer.from(header), Buffer.alloc(12)]),
    );
    const looked = await hub.inspect({ repo: `file://${root}/tiny`, revision: null }, null, signal);
    expect(looked).toMatchObject({ ok: true, value: { parameters: 6, layers: 3 } });
  });

  it("of Python pickles alone is refused, as anywhere", async () => {
    put("models/old/pytorch_model.bin");
    const looked = await hub.inspect({ repo: `file://${root}/old`, revision: null }, null, signal);
    expect(looked).toMatchObject({ ok: false, failure: { message: expect.stringMatching(/pickle/i) } });
  });
});
