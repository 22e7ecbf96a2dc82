import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Fixture, randomContent, startFixture } from "./fixture.ts";

const weights = randomContent(100_000);
const sha256 = createHash("sha256").update(weights).digest("hex");
let fixture: Fixture;

beforeAll(async () => {
  fixture = await startFixture(
    {
      "acme/tiny": {
        "README.md": "---\npipeline_tag: text-generation\n---\n",
        "a/b.txt": "hello",
        "m.gguf": weights,
      },
      "acme/secret": { "a.txt": "a" },
      "acme/licensed": { "a.txt": "a" },
    },
    { separateStorage: true },
  );
  await fixture.setAccess({
    private: ["acme/secret"],
    gated: { "acme/licensed": "manual" },
    tokens: { hf_alice: ["acme/secret", "acme/licensed"], hf_bob: [] },
  });
});
afterAll(() => fixture[Symbol.asyncDispose]());

function ask(path: string, init: RequestInit & { token?: string } = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (init.token !== undefined) headers.set("authorization", `Bearer ${init.token}`);
  return fetch(new URL(path, fixture.hub.url), { redirect: "manual", ...init, headers });
}

test("describes a repository", async () => {
  const info = (await (await ask("/api/models/acme/tiny")).json()) as Record<string, unknown>;
  expect(info).toMatchObject({
    id: "acme/tiny",
    private: false,
    gated: false,
    pipeline_tag: "text-generation",
  });
  expect(info.sha).toMatch(/^[0-9a-f]{40}$/);
  expect(info.siblings).toEqual([
    { rfilename: "README.md" },
    { rfilename: "a/b.txt" },
    { rfilename: "m.gguf" },
  ]);
});

test("lists in pages, with git blob ids and LFS hashes", async () => {
  const first = await ask("/api/models/acme/tiny/tree/main?recursive=true&limit=3");
  const next = /<(.*)>; rel="next"/.exec(first.headers.get("link") ?? "")?.[1] ?? "";
  const second = await fetch(next);
  expect(second.headers.get("link")).toBeNull();
  const entries = [...((await first.json()) as object[]), ...((await second.json()) as object[])];
  expect(entries).toEqual([
    { type: "directory", oid: expect.any(String), size: 0, path: "a" },
    expect.objectContaining({ type: "file", path: "README.md" }),
    // `printf hello | git hash-object --stdin`
    { type: "file", oid: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", size: 5, path: "a/b.txt" },
    {
      type: "file",
      oid: expect.stringMatching(/^[0-9a-f]{40}$/),
      size: 100_000,
      lfs: { oid: sha256, size: 100_000, pointerSize: 131 },
      path: "m.gguf",
    },
  ]);
});

test("redirects a large file to signed storage and serves ranges of it", async () => {
  const head = await ask("/acme/tiny/resolve/main/m.gguf", { method: "HEAD" });
  expect(head.status).toBe(302);
  expect(head.headers.get("x-linked-size")).toBe("100000");
  expect(head.headers.get("x-linked-etag")).toBe(`"${sha256}"`);
  expect(head.headers.get("x-repo-commit")).toMatch(/^[0-9a-f]{40}$/);
  const location = head.headers.get("location") ?? "";
  expect(new URL(location).origin).toBe(fixture.hub.storageUrl);
  const part = await fetch(location, { headers: { range: "bytes=10-19" } });
  expect(part.status).toBe(206);
  expect(part.headers.get("content-range")).toBe("bytes 10-19/100000");
  expect(Buffer.from(await part.arrayBuffer()).equals(weights.subarray(10, 20))).toBe(true);
  expect((await fetch(location, { headers: { range: "bytes=100000-" } })).status).toBe(416);
  const forged = new URL(location);
  forged.searchParams.set("Expires", "9999999999999");
  expect((await fetch(forged)).status).toBe(403);
});

test("serves small files through the hub's own cache, and pointers raw", async () => {
  const small = await ask("/acme/tiny/resolve/main/a/b.txt", { redirect: "follow" });
  expect(await small.text()).toBe("hello");
  expect(small.headers.get("etag")).toBe('"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"');
  const pointer = await (await ask("/acme/tiny/raw/main/m.gguf")).text();
  expect(pointer).toContain(`oid sha256:${sha256}`);
});

test.each([
  ["/api/models/acme/none", undefined, 401, "RepoNotFound"],
  ["/api/models/acme/none", "hf_bob", 404, "RepoNotFound"],
  ["/api/models/acme/secret", undefined, 401, "RepoNotFound"],
  ["/api/models/acme/secret", "hf_bob", 404, "RepoNotFound"],
  ["/api/models/acme/secret", "hf_alice", 200, null],
  ["/api/models/acme/tiny", "hf_wrong", 401, null],
  ["/api/models/acme/tiny/revision/nope", undefined, 404, "RevisionNotFound"],
  ["/acme/tiny/resolve/main/nope", undefined, 404, "EntryNotFound"],
  ["/acme/tiny/resolve/main/..%2f..%2faccess.json", undefined, 404, "EntryNotFound"],
  ["/api/models/acme/licensed", undefined, 200, null],
  ["/acme/licensed/resolve/main/a.txt", undefined, 401, "GatedRepo"],
  ["/acme/licensed/resolve/main/a.txt", "hf_bob", 403, "GatedRepo"],
  ["/acme/licensed/resolve/main/a.txt", "hf_alice", 307, null],
])("%s with token %s answers %i %s", async (path, token, status, code) => {
  const answer = await ask(path, token === undefined ? {} : { token });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("x-error-code")).toBe(code);
});

test("takes faults over HTTP, as often as they say", async () => {
  const faults = [{ on: "/acme/tiny", kind: "status", status: 503, retryAfter: "1", times: 1 }];
  await ask("/_fake/faults", { method: "PUT", body: JSON.stringify(faults) });
  const struck = await ask("/api/models/acme/tiny");
  expect([struck.status, struck.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await ask("/api/models/acme/tiny")).status).toBe(200);
  const seen = (await (await ask("/_fake/requests")).json()) as { url: string }[];
  expect(seen.at(-1)?.url).toBe("/api/models/acme/tiny");
});
