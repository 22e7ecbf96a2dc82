import { rmSync } from "node:fs";
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Files, type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import type { RepoFile } from "../core/deployment.ts";
import type { Hub } from "../ports/hub.ts";
import { Keeper, type Need } from "./keeper.ts";
import { keepHub } from "./kept-hub.ts";
import { Ledger } from "./ledger.ts";
import { gitOidOf, hastyClock, openTestHub, pull, sha256Of } from "./testing.ts";

const none = new AbortController().signal;
const weights = randomContent(100_000);

type Kept = { hub: Hub; keeper: Keeper; needs: Need[]; root: string; at: { now: number } };

function open(fixture: Fixture, more: { isShared?: boolean; maxBytes?: number } = {}): Kept {
  const root = join(fixture.home, "hub");
  const needs: Need[] = [];
  const at = { now: Date.now() + 1000 };
  const keeper = new Keeper({
    root,
    isShared: more.isShared ?? false,
    ledger: new Ledger(join(fixture.home, "hub-ledger")),
    needs: async () => needs,
  });
  const clock = { ...hastyClock, now: () => at.now };
  const hub = keepHub(openTestHub(fixture.home, fixture.hub.url), keeper, clock, more.maxBytes ?? null);
  return { hub, keeper, needs, root, at };
}

async function bring({ hub, at }: Kept, repo: string, revision?: string) {
  at.now += 1000;
  const pulled = await pull(hub, repo, revision === undefined ? {} : { revision });
  if (!pulled.ok) throw new Error(pulled.failure.message);
  return pulled.value;
}

const storageAsks = (fixture: Fixture) =>
  fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/")).length;
const exists = async (...path: string[]) => (await readdir(join(...path)).catch(() => [])).length > 0;

/** Puts a repository into the cache as Python's client does, with what the caller calls its content. */
async function writeAsPython(root: string, repo: string, commit: string, files: Files): Promise<void> {
  const folder = join(root, `models--${repo.replace("/", "--")}`);
  await mkdir(join(folder, "blobs"), { recursive: true });
  await mkdir(join(folder, "refs"), { recursive: true });
  await mkdir(join(folder, "snapshots", commit), { recursive: true });
  await writeFile(join(folder, "refs", "main"), commit);
  for (const [path, content] of Object.entries(files)) {
    const blob = path.endsWith(".gguf") ? sha256Of(weights) : gitOidOf(content);
    await writeFile(join(folder, "blobs", blob), content);
    await symlink(`../../blobs/${blob}`, join(folder, "snapshots", commit, path));
  }
}

describe("collection", () => {
  const repos = Object.fromEntries(
    ["a", "b", "c"].map((name) => [
      `acme/${name}`,
      { "model.gguf": randomContent(100_000), "config.json": name },
    ]),
  );

  test("under a limit takes the least recently used first, with its links and names, and never what is needed", async () => {
    await using fixture = await startFixture(repos);
    const kept = open(fixture, { maxBytes: 210_000 });
    const first = await bring(kept, "acme/a");
    kept.needs.push({ repo: "acme/a", commit: first.commit, files: first.files });
    await bring(kept, "acme/b");
    await bring(kept, "acme/c");
    expect((await kept.keeper.repos()).map(({ repo, isNeeded }) => [repo, isNeeded])).toEqual([
      ["acme/a", true],
      ["acme/c", false],
    ]);
    expect(await exists(kept.root, "models--acme--b")).toBe(false);
    expect(await readFile(join(kept.hub.snapshotPath("acme/a", first.commit), "config.json"), "utf8")).toBe(
      "a",
    );
  });

  test("takes what was asked for again last", async () => {
    await using fixture = await startFixture(repos);
    const kept = open(fixture);
    for (const repo of ["acme/a", "acme/b", "acme/a"]) await bring(kept, repo);
    await kept.keeper.collect(150_000);
    expect((await kept.keeper.repos()).map(({ repo }) => repo)).toEqual(["acme/a"]);
  });

  test("leaves alone what somebody holds, and takes what downloads left behind", async () => {
    await using fixture = await startFixture(repos);
    const kept = open(fixture);
    const { files } = await bring(kept, "acme/a");
    const part = join(kept.root, "models--acme--a", "blobs", `${sha256Of("never")}.incomplete`);
    await writeFile(part, "part");
    const release = kept.keeper.hold(
      "acme/a",
      files.map((file) => file.sha256 ?? file.gitOid ?? ""),
    );
    expect(await kept.keeper.collect(0)).toMatchObject({ removedBytes: 4 });
    release();
    expect(await kept.keeper.collect(0)).toMatchObject({ removedBytes: 100_001, keptBytes: 0 });
    expect(await readdir(kept.root)).not.toContain("models--acme--a");
  });

  test("of one of two revisions keeps what the other needs", async () => {
    const common = randomContent(50_000);
    await using fixture = await startFixture({
      "acme/m": { "shared.gguf": common, "config.json": "1" },
      "acme/m@next": { "shared.gguf": common, "config.json": "2", "new.gguf": weights },
    });
    const kept = open(fixture);
    const old = await bring(kept, "acme/m");
    const before = storageAsks(fixture);
    await bring(kept, "acme/m", "next");
    // What both have was fetched once.
    expect(storageAsks(fixture) - before).toBe(1);
    kept.needs.push({ repo: "acme/m", commit: old.commit, files: old.files });
    await kept.keeper.collect(0);
    expect((await readdir(kept.hub.snapshotPath("acme/m", old.commit))).sort()).toEqual([
      "config.json",
      "shared.gguf",
    ]);
    const [repo] = await kept.keeper.repos();
    expect(repo).toMatchObject({ bytes: 50_001, isNeeded: true });
  });

  test("makes room where a disk is full of what nobody needs", async () => {
    await using fixture = await startFixture(repos);
    const kept = open(fixture);
    await bring(kept, "acme/a");
    let free = 0;
    const disk = { freeBytes: async () => free };
    const inner = openTestHub(fixture.home, fixture.hub.url, { disk });
    const collect = kept.keeper.collect.bind(kept.keeper);
    kept.keeper.collect = async (keepBytes) => {
      const outcome = await collect(keepBytes);
      free += 10_000_000;
      return outcome;
    };
    const hub = keepHub(inner, kept.keeper, hastyClock, null);
    expect(await pull(hub, "acme/b")).toMatchObject({ ok: true });
    expect((await kept.keeper.repos()).map(({ repo }) => repo)).toEqual(["acme/b"]);
  });
});

describe("a cache that is shared with Python's tools", () => {
  const repo = { "model.gguf": weights, "config.json": "{}" };

  test("gives what they fetched after it was verified once, and collection leaves it alone", async () => {
    await using fixture = await startFixture({
      "acme/tiny": repo,
      "acme/other": { "x.gguf": randomContent(1000) },
    });
    const kept = open(fixture, { isShared: true });
    await writeAsPython(kept.root, "acme/tiny", "0".repeat(40), repo);
    await bring(kept, "acme/tiny");
    await bring(kept, "acme/other");
    expect(storageAsks(fixture)).toBe(1);
    expect(await kept.keeper.collect(0)).toMatchObject({ removedBytes: 1000 });
    expect(await kept.keeper.remove("acme/tiny")).toMatchObject({
      outcome: "removed",
      bytes: 0,
      keptBytes: 100_002,
    });
    expect((await kept.keeper.repos()).map((one) => [one.repo, one.ownBytes])).toEqual([["acme/tiny", 0]]);
  });

  test("fetches anew what they left damaged, and looks again at what they changed", async () => {
    await using fixture = await startFixture({ "acme/tiny": repo });
    const kept = open(fixture, { isShared: true });
    const damaged = Buffer.from(weights);
    damaged[5000] = (damaged[5000] ?? 0) ^ 1;
    await writeAsPython(kept.root, "acme/tiny", "0".repeat(40), { ...repo, "model.gguf": damaged });
    const { commit } = await bring(kept, "acme/tiny");
    const path = join(kept.hub.snapshotPath("acme/tiny", commit), "model.gguf");
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(storageAsks(fixture)).toBe(1);
    // Nothing is read or fetched again while nothing changes; a changed file is.
    await bring(kept, "acme/tiny");
    expect(storageAsks(fixture)).toBe(1);
    const blob = join(kept.root, "models--acme--tiny", "blobs", sha256Of(weights));
    await writeFile(blob, damaged);
    await utimes(blob, 1, 1);
    await bring(kept, "acme/tiny");
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(storageAsks(fixture)).toBe(2);
  });
});

describe("verification", () => {
  const files = { "model.gguf": weights, "config.json": "{}" };

  async function flip(kept: Kept): Promise<void> {
    const blob = join(kept.root, "models--acme--tiny", "blobs", sha256Of(weights));
    const content = await readFile(blob);
    content[50_000] = (content[50_000] ?? 0) ^ 0x10;
    await writeFile(blob, content);
  }

  test("finds a flipped bit, names the file, and has it fetched again when asked to repair", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const kept = open(fixture);
    const { commit } = await bring(kept, "acme/tiny");
    const seen: number[] = [];
    const verify = (repair: boolean) => kept.keeper.verify(null, repair, (done) => seen.push(done), none);
    expect(await verify(false)).toMatchObject({ files: 2, damaged: [] });
    expect(seen.at(-1)).toBe(100_002);
    await flip(kept);
    const damage = { repo: "acme/tiny", paths: ["model.gguf"] };
    expect((await verify(false)).damaged).toEqual([{ ...damage, isRemoved: false }]);
    expect((await verify(true)).damaged).toEqual([{ ...damage, isRemoved: true }]);
    await bring(kept, "acme/tiny");
    const path = join(kept.hub.snapshotPath("acme/tiny", commit), "model.gguf");
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect((await verify(false)).damaged).toEqual([]);
  });

  test("does not take for damaged what is removed while it reads", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const kept = open(fixture);
    await bring(kept, "acme/tiny");
    const removeAll = () =>
      rmSync(join(kept.root, "models--acme--tiny", "blobs"), { recursive: true, force: true });
    const { files: read, damaged } = await kept.keeper.verify(null, true, removeAll, none);
    expect([read, damaged]).toEqual([1, []]);
  });

  test("ends when it is told to", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const kept = open(fixture);
    await bring(kept, "acme/tiny");
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await expect(kept.keeper.verify(null, false, () => undefined, stop.signal)).rejects.toThrow("enough");
  });
});

describe("removal", () => {
  test("of what a deployment needs is refused, of what is not there said", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "config.json": "{}" } });
    const kept = open(fixture);
    const { commit, files } = await bring(kept, "acme/tiny");
    kept.needs.push({ repo: "acme/tiny", commit, files: files as RepoFile[] });
    expect(await kept.keeper.remove("acme/tiny")).toEqual({ outcome: "needed" });
    expect(await kept.keeper.remove("acme/none")).toEqual({ outcome: "absent" });
    kept.needs.pop();
    expect(await kept.keeper.remove("acme/tiny")).toEqual({ outcome: "removed", bytes: 2, keptBytes: 0 });
    expect(await kept.keeper.repos()).toEqual([]);
  });

  test("and collection survive a ledger that is lost or spoilt", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "config.json": "{}" } });
    const kept = open(fixture);
    await bring(kept, "acme/tiny");
    const folder = join(fixture.home, "hub-ledger", "models--acme--tiny");
    for (const name of await readdir(folder)) await writeFile(join(folder, name), "{");
    expect(await kept.keeper.repos()).toMatchObject([{ repo: "acme/tiny", ownBytes: 2 }]);
    await rm(join(fixture.home, "hub-ledger"), { recursive: true });
    expect(await kept.keeper.collect(0)).toMatchObject({ removedBytes: 2 });
  });
});
