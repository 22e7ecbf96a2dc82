import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { downloadFile, fileDownloadInfo, listFiles, modelInfo } from "@huggingface/hub";
import { describe, expect, test } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { type Files, type Fixture, randomContent, startFixture } from "../../../tools/fake-hub/fixture.ts";
import { weightFilesChooser } from "../../engines/weight-files.ts";
import type { RepoListing } from "../../ports/hub.ts";
import type { Mirror, MirrorAnswer, MirrorQuestion } from "../../ports/mirror.ts";
import { Cache } from "../cache.ts";
import { Keeper } from "../keeper.ts";
import { keepHub } from "../kept-hub.ts";
import { Ledger } from "../ledger.ts";
import { gitOidOf, hastyClock, openTestHub, sha256Of } from "../testing.ts";
import { createMirror } from "./mirror.ts";

const none = new AbortController().signal;
const weights = randomContent(1_000_000);
const files: Files = {
  "config.json": "{}\n",
  "empty.txt": "",
  "tiny-Q4_K_M.gguf": weights,
  "sub/dir/notes ü.txt": "notes",
};

function open(
  fixture: Fixture,
  tokens: Readonly<Record<string, readonly string[]>> = {},
  bound: Readonly<Record<string, readonly RepoListing[]>> = {},
): Mirror {
  const root = join(fixture.home, "hub");
  const keeper = new Keeper({
    root,
    isShared: false,
    ledger: new Ledger(join(fixture.home, "hub-ledger")),
    needs: async () => [],
  });
  return createMirror({
    hub: keepHub(openTestHub(fixture.home, fixture.hub.url), keeper, hastyClock, null),
    cache: new Cache(root),
    keeper,
    chooseFiles: weightFilesChooser({ allowPickle: false }),
    clock: hastyClock,
    tokensOf: async (account) => [null, ...(tokens[account] ?? [])],
    boundTo: async (account, repo) => (bound[account] ?? []).filter((listing) => listing.repo === repo),
  });
}

function ask(mirror: Mirror, target: string, more: Partial<MirrorQuestion> = {}): Promise<MirrorAnswer> {
  const question = { method: "GET", range: null, account: "ann", baseUrl: "http://berth/hub" } as const;
  return mirror.answer({ ...question, target, ...more }, none);
}

async function bytesOf({ body }: MirrorAnswer): Promise<Buffer> {
  if (body === null || typeof body === "string") return Buffer.from(body ?? "");
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

const jsonOf = (answer: MirrorAnswer): unknown => JSON.parse(String(answer.body));
const storageAsks = (fixture: Fixture) =>
  fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"));

describe("a file of the mirror", () => {
  test("comes with its hash, size and commit, from the internet once and then from the cache", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const target = "/acme/tiny/resolve/main/tiny-Q4_K_M.gguf";
    const head = await ask(mirror, target, { method: "HEAD" });
    const hash = sha256Of(weights);
    expect(head).toMatchObject({
      status: 200,
      body: null,
      headers: {
        etag: `"${hash}"`,
        "x-linked-etag": `"${hash}"`,
        "x-linked-size": "1000000",
        "content-length": "1000000",
        "accept-ranges": "bytes",
        "x-repo-commit": expect.stringMatching(/^[0-9a-f]{40}$/),
      },
    });
    expect(storageAsks(fixture)).toHaveLength(0);
    for (let count = 0; count < 2; count += 1) {
      expect((await bytesOf(await ask(mirror, target))).equals(weights)).toBe(true);
    }
    expect(storageAsks(fixture)).toHaveLength(1);
  });

  test("that is small has its git id, and one that is empty or in a folder comes too", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const small = await ask(mirror, "/acme/tiny/resolve/main/config.json");
    expect(small.headers).toMatchObject({ etag: `"${gitOidOf("{}\n")}"` });
    expect(small.headers).not.toHaveProperty("x-linked-etag");
    expect(String(await bytesOf(small))).toBe("{}\n");
    expect((await bytesOf(await ask(mirror, "/acme/tiny/resolve/main/empty.txt"))).length).toBe(0);
    const nested = "/acme/tiny/resolve/main/sub/dir/notes%20%C3%BC.txt";
    expect(String(await bytesOf(await ask(mirror, nested)))).toBe("notes");
  });

  test.each([
    ["bytes=0-0", 206, 0, 1],
    ["bytes=500000-", 206, 500_000, 1_000_000],
    ["bytes=-10", 206, 999_990, 1_000_000],
    ["bytes=10-99999999", 206, 10, 1_000_000],
    ["bytes=0-1,5-6", 200, 0, 1_000_000],
    ["lines=1-2", 200, 0, 1_000_000],
  ])("gives the range %s, both while it arrives and afterwards", async (range, status, start, end) => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    for (let count = 0; count < 2; count += 1) {
      const answer = await ask(mirror, "/acme/tiny/resolve/main/tiny-Q4_K_M.gguf", { range });
      expect(answer.status).toBe(status);
      expect(answer.headers["content-length"]).toBe(String(end - start));
      if (status === 206) expect(answer.headers["content-range"]).toBe(`bytes ${start}-${end - 1}/1000000`);
      expect((await bytesOf(answer)).equals(weights.subarray(start, end))).toBe(true);
    }
  });

  test("refuses a range beyond the end with the size", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const answer = await ask(open(fixture), "/acme/tiny/resolve/main/config.json", { range: "bytes=3-" });
    expect(answer).toMatchObject({ status: 416, headers: { "content-range": "bytes */3" } });
  });

  test("is given while it still arrives, but for the end, and once to many askers", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    // The second half comes when the reader has the first.
    fixture.hub.setFaults([{ on: "/storage/", kind: "stall", afterBytes: 500_000, times: 1 }]);
    const mirror = open(fixture);
    const target = "/acme/tiny/resolve/main/tiny-Q4_K_M.gguf";
    const answers = await Promise.all([1, 2, 3].map(() => ask(mirror, target)));
    const seen = answers.map(async ({ body }) => {
      let bytes = 0;
      for await (const piece of body as AsyncIterable<Uint8Array>) {
        bytes += piece.byteLength;
        if (bytes >= 400_000) return bytes;
      }
      return bytes;
    });
    for (const bytes of await Promise.all(seen)) expect(bytes).toBeLessThan(1_000_000);
    expect(storageAsks(fixture)).toHaveLength(1);
  });

  test("fails nobody when its asker leaves before it has read anything", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const target = "/acme/tiny/resolve/main/tiny-Q4_K_M.gguf";
    const orphans: unknown[] = [];
    const note = (error: unknown) => orphans.push(error);
    process.on("unhandledRejection", note);
    try {
      const leaving = new AbortController();
      const question = { method: "GET", range: null, account: "ann", baseUrl: "http://berth/hub" } as const;
      await mirror.answer({ ...question, target }, leaving.signal);
      leaving.abort(new Error("the asker has left"));
      expect(await bytesOf(await ask(mirror, target))).toEqual(weights);
      expect(orphans).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  test("that arrives wrong never arrives whole", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    fixture.hub.setFaults([{ on: "/storage/", kind: "corrupt", atByte: 1000 }]);
    const mirror = open(fixture);
    const target = "/acme/tiny/resolve/main/tiny-Q4_K_M.gguf";
    await expect(ask(mirror, target).then(bytesOf)).rejects.toThrow(
      /anew|cannot be brought|not what was verified/,
    );
    fixture.hub.setFaults([]);
    // The download that went wrong may still be under way, and is then what the next one who asks gets.
    const arrived = await until("the file", () => ask(mirror, target).then(bytesOf).catch(() => null));
    expect(arrived.equals(weights)).toBe(true);
  });
});

describe("the read rights of an account", () => {
  const tokens = { ann: ["hf_alice"], bob: ["hf_bob"] };

  async function start() {
    const fixture = await startFixture({ "acme/secret": files, "acme/licensed": files });
    await fixture.setAccess({
      private: ["acme/secret"],
      gated: { "acme/licensed": "manual" },
      tokens: { hf_alice: ["acme/secret", "acme/licensed"], hf_bob: [] },
    });
    return fixture;
  }

  test("decide on every request, also for what is in the cache; forbidden looks exactly like absent", async () => {
    await using fixture = await start();
    const mirror = open(fixture, tokens);
    const target = (repo: string) => `/${repo}/resolve/main/config.json`;
    const allowed = await ask(mirror, target("acme/secret"));
    expect(String(await bytesOf(allowed))).toBe("{}\n");
    const commit = allowed.headers["x-repo-commit"] ?? "";
    for (const account of ["bob", "eve"]) {
      for (const path of [
        target("acme/secret"),
        `/acme/secret/resolve/${commit}/config.json`,
        "/api/models/acme/secret",
      ]) {
        const hidden = await ask(mirror, path, { account });
        const absent = await ask(mirror, path.replace("secret", "nothing"), { account });
        expect(hidden).toEqual(absent);
        expect(hidden).toMatchObject({ status: 404, headers: { "x-error-code": "RepoNotFound" } });
      }
    }
  });

  test("say of a gated repository what the endpoint says to everybody", async () => {
    await using fixture = await start();
    const mirror = open(fixture, tokens);
    expect((await ask(mirror, "/acme/licensed/resolve/main/config.json")).status).toBe(200);
    const refused = await ask(mirror, "/acme/licensed/resolve/main/config.json", { account: "bob" });
    expect(refused).toMatchObject({ status: 403, headers: { "x-error-code": "GatedRepo" } });
    expect(JSON.stringify(refused)).not.toContain("hf_bob");
  });
});

describe("questions", () => {
  test.each([
    ["/acme/tiny/resolve/main/nothing.txt", 404, "EntryNotFound"],
    ["/acme/tiny/resolve/v9/config.json", 404, "RevisionNotFound"],
    ["/api/models/acme/tiny/tree/main/nowhere", 404, "EntryNotFound"],
    ["/v2/acme/tiny/manifests/Q2_K", 404, "EntryNotFound"],
    ["/acme/tiny/resolve/main/..%2f..%2fsecret", 404, undefined],
    ["/acme/tiny/resolve/main/../../secret", 404, undefined],
    ["/acme/tiny/resolve/%2e%2e/config.json", 404, undefined],
    ["/acme/tiny/resolve/main/%ff", 404, undefined],
    ["/api/models/acme/tiny/unknown/main", 404, undefined],
    ["/", 404, undefined],
  ])("%s is %i %s", async (target, status, code) => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const answer = await ask(open(fixture), target);
    expect(answer.status).toBe(status);
    expect(answer.headers["x-error-code"]).toBe(code);
  });

  test("the tree comes in pages, whose links are the mirror's own", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const paths: string[] = [];
    let target: string | undefined = "/api/models/acme/tiny/tree/main?recursive=True&limit=2";
    for (let page = 0; target !== undefined && page < 10; page += 1) {
      const answer: MirrorAnswer = await ask(mirror, target);
      paths.push(...(jsonOf(answer) as { path: string }[]).map(({ path }) => path));
      target = /<http:\/\/berth\/hub([^>]*)>/.exec(answer.headers.link ?? "")?.[1];
    }
    expect(paths.sort()).toEqual([...Object.keys(files), "sub", "sub/dir"].sort());
  });

  test("a raw file is what git keeps: a small one itself, of a large one the pointer", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const small = await ask(mirror, "/acme/tiny/raw/main/config.json");
    expect(String(await bytesOf(small))).toBe("{}\n");
    const large = await ask(mirror, "/acme/tiny/raw/main/tiny-Q4_K_M.gguf");
    expect(String(large.body)).toBe(
      `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256Of(weights)}\nsize 1000000\n`,
    );
    expect((await ask(mirror, "/acme/tiny/raw/main/nothing.txt")).status).toBe(404);
    expect(storageAsks(fixture)).toHaveLength(0);
  });

  test("the default branch is at the commit that everything else is of", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    const { sha } = jsonOf(await ask(mirror, "/api/models/acme/tiny")) as { sha: string };
    const main = { name: "main", ref: "refs/heads/main", targetCommit: sha };
    const refs = jsonOf(await ask(mirror, "/api/models/acme/tiny/refs"));
    expect(refs).toEqual({ branches: [main], converts: [], tags: [] });
  });

  test("llama.cpp learns which file a tag stands for", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const mirror = open(fixture);
    for (const tag of ["latest", "Q4_K_M"]) {
      const answer = await ask(mirror, `/v2/acme/tiny/manifests/${tag}`);
      expect(jsonOf(answer)).toMatchObject({ ggufFile: { rfilename: "tiny-Q4_K_M.gguf", size: 1_000_000 } });
    }
  });

  test("while the endpoint is away, an account has what its own deployments are bound to, and no other", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    const bound: Record<string, RepoListing[]> = {};
    const first = open(fixture);
    const name = "tiny-Q4_K_M.gguf";
    const info = jsonOf(await ask(first, "/api/models/acme/tiny")) as { sha: string };
    expect(await bytesOf(await ask(first, `/acme/tiny/resolve/main/${name}`))).toEqual(weights);
    const file = { path: name, bytes: weights.length, sha256: sha256Of(weights), gitOid: null };
    bound.ann = [{ repo: "acme/tiny", commit: info.sha, files: [file] }];
    await fixture.hub.close();

    const mirror = open(fixture, {}, bound);
    for (const revision of ["main", info.sha]) {
      const answer = await ask(mirror, `/acme/tiny/resolve/${revision}/${name}`);
      expect(answer).toMatchObject({ status: 200, headers: { "x-repo-commit": info.sha } });
      expect(await bytesOf(answer)).toEqual(weights);
    }
    const others = { account: "bob" };
    expect(await ask(mirror, `/acme/tiny/resolve/main/${name}`, others)).toMatchObject({ status: 503 });
    const elsewhere = `/acme/tiny/resolve/${"0".repeat(40)}/${name}`;
    expect(await ask(mirror, elsewhere)).toMatchObject({ status: 503 });
  });

  test("an endpoint that is away is no absent repository", async () => {
    const fixture = await startFixture({});
    await using _ = fixture;
    const mirror = open(fixture);
    await fixture.hub.close();
    const answer = await ask(mirror, "/api/models/acme/tiny");
    expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
  });
});

describe("the official client", () => {
  /** The mirror on a port of its own, as control serves it. */
  async function serve(mirror: Mirror) {
    const server = createServer((request, response) => {
      const method = request.method === "HEAD" ? "HEAD" : "GET";
      const range = request.headers.range ?? null;
      const target = request.url ?? "";
      ask(mirror, target, { method, range, baseUrl: `http://${request.headers.host}` }).then(
        ({ status, headers, body }) => {
          response.writeHead(status, headers);
          Readable.from(method === "HEAD" || body === null ? [] : body).pipe(response);
        },
        () => response.destroy(),
      );
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return {
      url: `http://127.0.0.1:${port}`,
      [Symbol.dispose]: () => void server.close().closeAllConnections(),
    };
  }

  test("lists, describes and downloads", async () => {
    await using fixture = await startFixture({ "acme/tiny": files });
    using served = await serve(open(fixture));
    const common = { repo: "acme/tiny", hubUrl: served.url } as const;
    const listed: string[] = [];
    for await (const { path, type } of listFiles({ ...common, recursive: true }))
      if (type === "file") listed.push(path);
    expect(listed.sort()).toEqual(Object.keys(files).sort());
    expect(
      await modelInfo({ name: "acme/tiny", hubUrl: served.url, additionalFields: ["sha"] }),
    ).toMatchObject({
      name: "acme/tiny",
      private: false,
      sha: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
    const file = { ...common, path: "tiny-Q4_K_M.gguf" };
    expect(await fileDownloadInfo(file)).toMatchObject({ size: 1_000_000, etag: `"${sha256Of(weights)}"` });
    const blob = await downloadFile(file);
    if (blob === null) throw new Error("there is no such file");
    expect(Buffer.from(await blob.arrayBuffer()).equals(weights)).toBe(true);
    expect(await downloadFile({ ...common, path: "nothing" })).toBeNull();
  });
});
