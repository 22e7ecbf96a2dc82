import { lstat, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import { gitOidOf, openTestHub, pull, sha256Of } from "./testing.ts";

const weights = randomContent(300_000);
const files = {
  "config.json": "{}\n",
  "empty.txt": "",
  "model.gguf": weights,
  "sub/dir/notes ü#?.txt": "notes",
};
const none = new AbortController().signal;

async function failureOf(
  outcome: Promise<{ ok: true } | { ok: false; failure: { code: string; message: string; next: string } }>,
) {
  const result = await outcome;
  if (result.ok) throw new Error("it worked");
  return result.failure;
}

describe("listing", () => {
  test("resolves branch, tag and commit, and gives sizes and hashes over several pages", async () => {
    await using fixture = await startFixture(
      { "acme/tiny": files, "acme/tiny@v1": { "config.json": "1" } },
      { pageSize: 2 },
    );
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const main = await hub.list({ repo: "acme/tiny:Q4_K_M", revision: null }, null, none);
    if (!main.ok) throw new Error(main.failure.message);
    expect(main.value.commit).toMatch(/^[0-9a-f]{40}$/);
    expect(main.value.files).toEqual(
      expect.arrayContaining([
        { path: "config.json", bytes: 3, sha256: null, gitOid: gitOidOf("{}\n") },
        { path: "empty.txt", bytes: 0, sha256: null, gitOid: gitOidOf("") },
        { path: "model.gguf", bytes: 300_000, sha256: sha256Of(weights), gitOid: expect.any(String) },
        { path: "sub/dir/notes ü#?.txt", bytes: 5, sha256: null, gitOid: gitOidOf("notes") },
      ]),
    );
    expect(main.value.files).toHaveLength(4);
    const tag = await hub.list({ repo: "acme/tiny", revision: "v1" }, null, none);
    if (!tag.ok) throw new Error(tag.failure.message);
    expect(tag.value.files).toHaveLength(1);
    const byCommit = await hub.list({ repo: "acme/tiny", revision: tag.value.commit }, null, none);
    expect(byCommit).toEqual(tag);
  });

  test.each([
    ["acme/none", null, undefined, "repo_not_found"],
    ["acme/none", "hf_bob", undefined, "repo_not_found"],
    ["acme/secret", null, undefined, "repo_not_found"],
    ["acme/secret", "hf_bob", undefined, "repo_not_found"],
    ["acme/licensed", null, undefined, "repo_gated"],
    ["acme/licensed", "hf_bob", undefined, "repo_gated"],
    ["acme/tiny", "hf_mistyped", undefined, "repo_not_found"],
    ["acme/tiny", null, "nope", "revision_not_found"],
    ["acme/tiny", null, "a..b", "revision_not_found"],
    ["acme/../tiny", null, undefined, "repo_not_found"],
  ])("%s with token %s at %s is %s", async (repo, token, revision, code) => {
    await using fixture = await startFixture({
      "acme/tiny": files,
      "acme/secret": files,
      "acme/licensed": files,
    });
    await fixture.setAccess({
      private: ["acme/secret"],
      gated: { "acme/licensed": "manual" },
      tokens: { hf_alice: ["acme/secret", "acme/licensed"], hf_bob: [] },
    });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const failure = await failureOf(hub.list({ repo, revision: revision ?? null }, token, none));
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(/\.$/);
    expect(failure.next).toMatch(/\.$/);
    if (token !== null) expect(JSON.stringify(failure)).not.toContain(token);
  });

  test("a private repository and one that is not there look the same", async () => {
    await using fixture = await startFixture({ "acme/secret": files });
    await fixture.setAccess({ private: ["acme/secret"], tokens: { hf_bob: [] } });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    for (const token of [null, "hf_bob"]) {
      const hidden = await failureOf(hub.list({ repo: "acme/secret", revision: null }, token, none));
      const absent = await failureOf(hub.list({ repo: "acme/absent", revision: null }, token, none));
      expect(JSON.stringify(hidden).replaceAll("secret", "absent")).toBe(JSON.stringify(absent));
    }
  });

  test("says in plain words that the token was not accepted", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const failure = await failureOf(hub.list({ repo: "acme/tiny", revision: null }, "hf_mistyped", none));
    expect(failure.message).toContain("did not accept the Hugging Face token");
  });

  test.each([["../../etc/passwd"], ["/etc/passwd"], ["a\\b"], ["a\0b"], ["x".repeat(2000)]])(
    "refuses a listing with the file name %j",
    async (path) => {
      await using fixture = await startFixture({ "acme/tiny": files });
      const entry = { type: "file", path, size: 1, oid: "a".repeat(40) };
      fixture.hub.setFaults([{ on: "/tree/", kind: "body", text: JSON.stringify([entry]) }]);
      const failure = await failureOf(pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny"));
      expect(failure.code).toBe("no_loadable_weights");
    },
  );

  test.each([
    ["not JSON", "<html>"],
    ["not a list", "{}"],
    ["no hash", JSON.stringify([{ type: "file", path: "a", size: 1 }])],
    ["a hash that is a path", JSON.stringify([{ type: "file", path: "a", size: 1, oid: "../../x" }])],
    ["a negative size", JSON.stringify([{ type: "file", path: "a", size: -1, oid: "a".repeat(40) }])],
    ["too long", `[${" ".repeat(17 * 1024 * 1024)}]`],
  ])("refuses a listing that is wrong: %s", async (_name, text) => {
    await using fixture = await startFixture({ "acme/tiny": files });
    fixture.hub.setFaults([{ on: "/tree/", kind: "body", text }]);
    const failure = await failureOf(pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny"));
    expect(failure.code).toBe("no_loadable_weights");
  });

  test("leaves links and submodules of a repository out", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const entries = ["symlink", "commit", "directory"].map((type) => ({
      type,
      path: type,
      size: 1,
      oid: "a".repeat(40),
    }));
    fixture.hub.setFaults([{ on: "/tree/", kind: "body", text: JSON.stringify(entries) }]);
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const listed = await hub.list({ repo: "acme/tiny", revision: null }, null, none);
    expect(listed).toMatchObject({ ok: true, value: { files: [] } });
  });
});

describe("fetching", () => {
  test("lays files out as Python's client does", async () => {
    await using fixture = await startFixture({ "acme/tiny": files }, { separateStorage: true });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const pulled = await pull(hub, "acme/tiny");
    if (!pulled.ok) throw new Error(pulled.failure.message);
    const { commit } = pulled.value;
    const folder = join(fixture.home, "hub", "models--acme--tiny");
    expect((await readdir(folder)).sort()).toEqual(["blobs", "refs", "snapshots"]);
    expect((await readdir(join(folder, "blobs"))).sort()).toEqual(
      [gitOidOf("{}\n"), gitOidOf(""), gitOidOf("notes"), sha256Of(weights)].sort(),
    );
    expect(await readFile(join(folder, "refs", "main"), "utf8")).toBe(commit);
    const snapshot = hub.snapshotPath("acme/tiny:Q8_0", commit);
    expect(snapshot).toBe(join(folder, "snapshots", commit));
    expect(await readlink(join(snapshot, "model.gguf"))).toBe(`../../blobs/${sha256Of(weights)}`);
    expect(await readlink(join(snapshot, "sub/dir/notes ü#?.txt"))).toBe(
      `../../../../blobs/${gitOidOf("notes")}`,
    );
    for (const [path, content] of Object.entries(files)) {
      expect((await readFile(join(snapshot, path))).equals(Buffer.from(content))).toBe(true);
    }
  });

  test("reports progress that only grows and ends at the total", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const pulled = await pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny");
    if (!pulled.ok) throw new Error(pulled.failure.message);
    const { progress } = pulled.value;
    expect(progress[0]).toMatchObject({ bytesDone: 0, bytesTotal: 300_008 });
    expect(progress.at(-1)).toMatchObject({ bytesDone: 300_008, bytesTotal: 300_008, currentFiles: [] });
    const done = progress.map(({ bytesDone }) => bytesDone);
    expect(done).toEqual(done.toSorted((a, b) => a - b));
  });

  test("content that two files share comes once and counts for both", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "a.gguf": weights, "b.gguf": weights } });
    const pulled = await pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny");
    if (!pulled.ok) throw new Error(pulled.failure.message);
    expect(pulled.value.progress[0]).toMatchObject({ bytesDone: 0, bytesTotal: 600_000 });
    expect(pulled.value.progress.at(-1)).toMatchObject({ bytesDone: 600_000, currentFiles: [] });
    expect(fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"))).toHaveLength(1);
  });

  test("a branch name in the way of another one does no harm", async () => {
    await using fixture = await startFixture({
      "acme/tiny@a": files,
      "acme/tiny@a%2Fb": files,
      "acme/tiny": files,
    });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    for (const revision of ["a", "a/b"]) {
      expect(await hub.list({ repo: "acme/tiny", revision }, null, none)).toMatchObject({ ok: true });
    }
    expect(await readdir(join(fixture.home, "hub", "models--acme--tiny", "refs"))).toEqual(["a"]);
  });

  test("asks for nothing that is there already, and mends links", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const pulled = await pull(hub, "acme/tiny");
    if (!pulled.ok) throw new Error(pulled.failure.message);
    const { commit } = pulled.value;
    await rm(join(hub.snapshotPath("acme/tiny", commit), "config.json"));
    await writeFile(join(hub.snapshotPath("acme/tiny", commit), "empty.txt.x"), "");
    const asked = fixture.hub.requests.length;
    const again = await hub.fetch("acme/tiny", commit, pulled.value.files, null, () => undefined, none);
    expect(again).toEqual({ ok: true, value: null });
    expect(fixture.hub.requests.length).toBe(asked);
    expect(await readFile(join(hub.snapshotPath("acme/tiny", commit), "config.json"), "utf8")).toBe("{}\n");
  });

  test("brings only the files that are asked for, and only what a new revision changed", async () => {
    const next = { ...files, "config.json": "{ }\n" };
    await using fixture = await startFixture({ "acme/tiny": files, "acme/tiny@next": next });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    await pull(hub, "acme/tiny", { choose: ({ path }) => path === "model.gguf" });
    expect(fixture.hub.requests.filter(({ url }) => url.includes("/resolve/"))).toHaveLength(1);
    await pull(hub, "acme/tiny", { revision: "next" });
    expect(fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"))).toHaveLength(1);
  });

  test("a private and a gated repository come with a token that may read them", async () => {
    await using fixture = await startFixture(
      { "acme/secret": files, "acme/licensed": files },
      { separateStorage: true },
    );
    await fixture.setAccess({
      private: ["acme/secret"],
      gated: { "acme/licensed": "auto" },
      tokens: { hf_alice: ["acme/secret", "acme/licensed"] },
    });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    for (const repo of ["acme/secret", "acme/licensed"]) {
      expect(await pull(hub, repo, { token: "hf_alice" })).toMatchObject({ ok: true });
    }
    const atHub = fixture.hub.requests.filter(({ at }) => at === "hub");
    const atStorage = fixture.hub.requests.filter(({ at }) => at === "storage");
    expect(atHub.every(({ authorization }) => authorization === "Bearer hf_alice")).toBe(true);
    expect(atStorage).toHaveLength(2);
    expect(atStorage.every(({ authorization }) => authorization === null)).toBe(true);
  });

  test("a gated repository in the cache is still refused to who may not read it", async () => {
    await using fixture = await startFixture({ "acme/licensed": files });
    await fixture.setAccess({ gated: { "acme/licensed": "auto" }, tokens: { hf_alice: ["acme/licensed"] } });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    expect(await pull(hub, "acme/licensed", { token: "hf_alice" })).toMatchObject({ ok: true });
    expect((await failureOf(pull(hub, "acme/licensed"))).code).toBe("repo_gated");
  });

  test("eight callers share one download", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "model.gguf": weights } });
    fixture.hub.setFaults([{ on: "/storage/", kind: "slow", bytesPerS: 3_000_000 }]);
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const all = await Promise.all(Array.from({ length: 8 }, () => pull(hub, "acme/tiny")));
    expect(all.every(({ ok }) => ok)).toBe(true);
    expect(fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"))).toHaveLength(1);
  });

  test("one caller leaving does not stop the others; the last one leaving stops the work", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "model.gguf": weights } });
    fixture.hub.setFaults([{ on: "/storage/", kind: "stall", afterBytes: 100_000, times: 1 }]);
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const [first, second] = [new AbortController(), new AbortController()];
    const start = ({ signal }: AbortController) => {
      const { promise: arrived, resolve } = Promise.withResolvers<void>();
      const onProgress = ({ bytesDone }: { bytesDone: number }) => {
        if (bytesDone >= 100_000) resolve();
      };
      return { arrived, outcome: pull(hub, "acme/tiny", { signal, onProgress }) };
    };
    const [one, two] = [start(first), start(second)];
    await Promise.all([one.arrived, two.arrived]);
    first.abort(new Error("first has left"));
    await expect(one.outcome).rejects.toThrow("first has left");
    second.abort(new Error("second has left"));
    await expect(two.outcome).rejects.toThrow("second has left");
    const blobs = await readdir(join(fixture.home, "hub", "models--acme--tiny", "blobs"));
    expect(blobs.sort()).toEqual([
      `${sha256Of(weights)}.berth-ranges.incomplete`,
      `${sha256Of(weights)}.berth.incomplete`,
    ]);
    // The part that arrived is used by the next one.
    expect(await pull(hub, "acme/tiny")).toMatchObject({ ok: true });
    expect(fixture.hub.requests.at(-1)?.range).toBe("bytes=100000-299999");
  });

  test("refuses before it begins when the disk has too little room, with both numbers", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const hub = openTestHub(fixture.home, fixture.hub.url, {
      disk: { freeBytes: async () => 250_000 },
      limits: { minFreeBytes: 1_000_000 },
    });
    const failure = await failureOf(pull(hub, "acme/tiny"));
    expect(failure.code).toBe("disk_full");
    expect(failure.message).toContain("250.0 kB");
    expect(failure.message).toContain("needs 300.0 kB more, with 1.0 MB left over");
    expect(fixture.hub.requests.some(({ url }) => url.includes("/resolve/"))).toBe(false);
  });

  test("stops when the disk fills meanwhile, and gives the room back", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "model.gguf": Buffer.alloc(70_000_000) } });
    const frees = [1e9];
    const hub = openTestHub(fixture.home, fixture.hub.url, {
      disk: { freeBytes: async () => frees.shift() ?? 1000 },
      limits: { minFreeBytes: 1_000_000 },
    });
    const failure = await failureOf(pull(hub, "acme/tiny"));
    expect(failure.code).toBe("disk_full");
    expect(failure.message).toContain("1.0 kB free");
    expect(await readdir(join(fixture.home, "hub", "models--acme--tiny", "blobs"))).toEqual([]);
  });

  test("a cache that cannot be written is storage_failed and names no path of the machine", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    await mkdir(join(fixture.home, "hub", "models--acme--tiny"), { recursive: true });
    await writeFile(
      join(fixture.home, "hub", "models--acme--tiny", "blobs"),
      "a file where a folder must be",
    );
    const failure = await failureOf(pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny"));
    expect(failure.code).toBe("storage_failed");
    expect(JSON.stringify(failure)).not.toContain(fixture.home);
  });

  test.each([
    ["a path that leaves", { path: "../../x", bytes: 1, sha256: "a".repeat(64), gitOid: null }],
    ["a hash that is a path", { path: "x", bytes: 1, sha256: "../x", gitOid: null }],
    ["no hash", { path: "x", bytes: 1, sha256: null, gitOid: null }],
  ])("checks stored files again: %s", async (_name, file) => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const hub = openTestHub(fixture.home, fixture.hub.url);
    const fetched = hub.fetch("acme/tiny", "a".repeat(40), [file], null, () => undefined, none);
    expect((await failureOf(fetched)).code).toBe("no_loadable_weights");
    expect(() => hub.snapshotPath("acme/tiny", "../../..")).toThrow();
    expect(() => hub.snapshotPath("../..", "a".repeat(40))).toThrow();
  });

  test("files whose names differ only in case are not mixed up", async () => {
    await using fixture = await startFixture({ "acme/tiny": { "a.gguf": "1", "A.gguf": "2" } });
    const failure = await failureOf(pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny"));
    expect(failure.message).toContain("cannot both be stored");
  });
});

describe("a repository that Berth ships", () => {
  test("is listed and fetched the same way, without a network", async () => {
    await using fixture = await startFixture({
      "acme/tiny": { ...files, "big.gguf": randomContent(2 * 1024 * 1024) },
    });
    await fixture.hub.close();
    const builtin = new Map([["berth/starter", join(fixture.root, "acme/tiny")]]);
    const hub = openTestHub(fixture.home, fixture.hub.url, { builtin });
    const pulled = await pull(hub, "berth/starter");
    if (!pulled.ok) throw new Error(pulled.failure.message);
    const { commit } = pulled.value;
    expect(commit).toMatch(/^[0-9a-f]{40}$/);
    const snapshot = hub.snapshotPath("berth/starter", commit);
    expect((await readFile(join(snapshot, "model.gguf"))).equals(weights)).toBe(true);
    expect((await lstat(join(snapshot, "big.gguf"))).isSymbolicLink()).toBe(true);
    expect((await stat(join(snapshot, "big.gguf"))).size).toBe(2 * 1024 * 1024);
    expect(await pull(hub, "berth/starter", { revision: commit })).toMatchObject({
      ok: true,
      value: { commit },
    });
    expect((await failureOf(pull(hub, "berth/starter", { revision: "v9" }))).code).toBe("revision_not_found");

    // A later version of Berth ships other content: the old commit is served from the cache, or not at all.
    await fixture.addRepo("acme/tiny", { "config.json": "{ }" });
    const old = [commit, pulled.value.files, null, () => undefined, none] as const;
    expect(await hub.fetch("berth/starter", ...old)).toMatchObject({ ok: true });
    await rm(join(fixture.home, "hub"), { recursive: true });
    expect((await failureOf(hub.fetch("berth/starter", ...old))).code).toBe("revision_not_found");
  });
});
