/** What a bad network or a bad server does, each with its end: the right file or the right reason, never a wrong file. */

import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Fault } from "../../tools/fake-hub/faults.ts";
import { type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import type { Hub } from "../ports/hub.ts";
import type { HubOptions } from "./hub.ts";
import type { HubLimits } from "./limits.ts";
import { openTestHub, pull, sha256Of } from "./testing.ts";

const weights = randomContent(3_000_000);
const repo = "acme/tiny";

/** Waits are short also where the clock is real. */
const hasty = { firstWaitMs: 1, maxWaitMs: 5 };
const inPieces = { ...hasty, chunkBytes: 400_000, minChunkBytes: 200_000 };
/** What each fault meets. */
const forms: readonly [string, { readonly threads: number; readonly limits: Partial<HubLimits> }][] = [
  ["by one connection", { threads: 0, limits: hasty }],
  ["by several ranges", { threads: 0, limits: inPieces }],
  ["by several ranges of a thread", { threads: 1, limits: inPieces }],
];

async function pullWith(fixture: Fixture, faults: readonly Fault[], more: Partial<HubOptions> = {}) {
  fixture.hub.setFaults(faults);
  return await pull(openTestHub(fixture.home, fixture.hub.url, more), repo);
}

const blobFolder = ({ home }: Fixture, of = repo) =>
  join(home, "hub", `models--${of.replace("/", "--")}`, "blobs");

async function storedContent(fixture: Fixture, of = repo): Promise<Buffer> {
  return await readFile(join(blobFolder(fixture, of), sha256Of(weights)));
}

/** Nothing has a blob's name unless it is whole. */
async function expectNoBlob(fixture: Fixture, of: string): Promise<void> {
  const names = await readdir(blobFolder(fixture, of)).catch(() => []);
  expect(names.filter((name) => !name.endsWith(".incomplete"))).toEqual([]);
}

/** Places within the smallest piece that is asked for, another one in each run. */
const anywhere = () => randomInt(1, 199_999);
const passing: readonly [string, readonly Fault[]][] = [
  [
    "resets in mid-body",
    [1, 2, 3].map(() => ({ on: "/storage/", kind: "reset", afterBytes: anywhere(), times: 1 })),
  ],
  ["a reset before the first byte", [{ on: "/storage/", kind: "reset", afterBytes: 0, times: 2 }]],
  [
    "a body that ends early, without a length",
    [{ on: "/storage/", kind: "truncate", afterBytes: anywhere(), times: 2 }],
  ],
  [
    "a body that ends early, with a length that agrees",
    [{ on: "/storage/", kind: "truncate", afterBytes: anywhere(), announced: true, times: 1 }],
  ],
  [
    "the same in a later request",
    [{ on: "/storage/", kind: "truncate", afterBytes: 70_000, announced: true, skip: 1, times: 1 }],
  ],
  ["a wrong byte", [{ on: "/storage/", kind: "corrupt", atByte: anywhere(), times: 1 }]],
  [
    "a wrong byte in what came before a reset",
    [
      { on: "/storage/", kind: "reset", afterBytes: 150_000, times: 1 },
      { on: "/storage/", kind: "corrupt", atByte: anywhere(), times: 1 },
      { on: "/storage/", kind: "reset", afterBytes: 50_000, skip: 1, times: 1 },
    ],
  ],
  ["a slow start", [{ on: "/storage/", kind: "late", waitMs: 200, times: 1 }]],
  ["500 while listing", [{ on: "/tree/", kind: "status", status: 500, times: 3 }]],
  ["503 while resolving", [{ on: "/resolve/", kind: "status", status: 503, times: 3 }]],
  ["an outage after the listing", [{ on: "/resolve/", kind: "status", status: 503, times: 6 }]],
  ["429 with Retry-After", [{ on: "/resolve/", kind: "status", status: 429, retryAfter: "3600", times: 3 }]],
  [
    "429 from storage",
    [{ on: "/storage/", kind: "status", status: 429, retryAfter: "3600", skip: 1, times: 3 }],
  ],
  ["502 from storage", [{ on: "/storage/", kind: "status", status: 502, times: 3 }]],
  ["401 from storage", [{ on: "/storage/", kind: "status", status: 401, times: 1 }]],
  ["404 from storage", [{ on: "/storage/", kind: "status", status: 404, skip: 1, times: 1 }]],
  ["416 without a reason", [{ on: "/storage/", kind: "status", status: 416, times: 1 }]],
  ["an expired signature", [{ on: "/storage/", kind: "status", status: 403, times: 1 }]],
  [
    "signatures that expire on the way",
    [{ on: "/storage/", kind: "status", status: 403, skip: 1, times: 3 }],
  ],
  ["a storage that forgets ranges", [{ on: "/storage/", kind: "no-range", skip: 1 }]],
  ["another ETag in mid-download", [{ on: "/storage/", kind: "etag", value: "other", skip: 1 }]],
];

/** What is noticed by nothing but the time that has passed. */
const silent: readonly [string, readonly Fault[]][] = [
  ["a stall", [{ on: "/storage/", kind: "stall", afterBytes: anywhere(), times: 1 }]],
  ["no answer from storage", [{ on: "/storage/", kind: "silence", times: 1 }]],
  ["no answer from storage later", [{ on: "/storage/", kind: "silence", skip: 1, times: 1 }]],
  ["no answer from the hub", [{ on: "/api/models/", kind: "silence", times: 1 }]],
];
/** Soon noticed; a busy machine may be as slow without a fault, so that costs a try and is not the end. */
const soon = { idleTimeoutMs: 300, headersTimeoutMs: 300, attempts: 100, downloadAttempts: 100 };

const lasting: readonly [string, Fault, string][] = [
  ["resets", { on: "/storage/", kind: "reset", afterBytes: 0 }, "hub_unreachable"],
  ["resets after some bytes", { on: "/storage/", kind: "reset", afterBytes: 1000 }, "hub_unreachable"],
  ["an early end", { on: "/storage/", kind: "truncate", afterBytes: 1000 }, "hub_unreachable"],
  ["500", { on: "/storage/", kind: "status", status: 500 }, "hub_unreachable"],
  ["503", { on: "/resolve/", kind: "status", status: 503 }, "hub_unreachable"],
  ["429", { on: "/api/models/", kind: "status", status: 429, retryAfter: "1" }, "hub_unreachable"],
  ["429 from storage", { on: "/storage/", kind: "status", status: 429 }, "hub_unreachable"],
  ["an answer nobody expects", { on: "/api/models/", kind: "status", status: 418 }, "hub_unreachable"],
  ["401", { on: "/api/models/", kind: "status", status: 401 }, "repo_not_found"],
  ["403", { on: "/api/models/", kind: "status", status: 403 }, "repo_not_found"],
  ["404", { on: "/api/models/", kind: "status", status: 404 }, "repo_not_found"],
  ["401 for the file", { on: "/resolve/", kind: "status", status: 401 }, "repo_not_found"],
  ["expired signatures", { on: "/storage/", kind: "status", status: 403 }, "hub_unreachable"],
  ["a redirect loop", { on: "/resolve/", kind: "redirect" }, "hub_unreachable"],
  ["a redirect loop of the storage", { on: "/storage/", kind: "redirect" }, "hub_unreachable"],
  ["a wrong byte", { on: "/storage/", kind: "corrupt", atByte: 0 }, "weights_damaged"],
  ["another hash", { on: "/resolve/", kind: "etag", value: "f".repeat(64) }, "revision_not_found"],
  [
    "a file that is gone",
    { on: "/model.gguf", kind: "redirect", to: "/acme/tiny/resolve/main/gone" },
    "revision_not_found",
  ],
];

describe.each(forms)("%s", (_form, { threads, limits }) => {
  // Each test has a repository of its own at one hub: starting a thread for each would take longer than all the rest.
  let fixture: Fixture;
  let hub: Hub;
  let impatient: Hub;
  let count = 0;
  beforeAll(async () => {
    fixture = await startFixture({ [repo]: {} });
    hub = openTestHub(fixture.home, fixture.hub.url, { threads, limits });
    impatient = openTestHub(fixture.home, fixture.hub.url, { threads, limits: { ...limits, ...soon } });
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  async function addRepo(faults: readonly Fault[]): Promise<string> {
    count += 1;
    const name = `acme/tiny-${count}`;
    await fixture.addRepo(name, { "model.gguf": weights });
    fixture.hub.setFaults(faults);
    return name;
  }

  test.each(passing)("%s passes", async (_name, faults) => {
    const own = await addRepo(faults);
    expect(await pull(hub, own)).toMatchObject({ ok: true });
    expect((await storedContent(fixture, own)).equals(weights)).toBe(true);
  });

  test.each(silent)("%s passes", async (_name, faults) => {
    const own = await addRepo(faults);
    expect(await pull(impatient, own)).toMatchObject({ ok: true });
    expect((await storedContent(fixture, own)).equals(weights)).toBe(true);
  });

  test.each(lasting)("%s for ever is %s", async (_name, fault, code) => {
    const own = await addRepo([fault]);
    const outcome = await pull(hub, own);
    if (outcome.ok) throw new Error("it worked");
    expect(outcome.failure.code).toBe(code);
    if (code === "weights_damaged") expect(outcome.failure.message).toContain("model.gguf");
    if (code === "hub_unreachable") expect(outcome.failure.message).toContain(new URL(fixture.hub.url).host);
    expect(JSON.stringify(outcome.failure)).not.toContain("Signature");
    await expectNoBlob(fixture, own);
  });

  test("a length that is always too short is never taken for the whole", async () => {
    const own = await addRepo([{ on: "/storage/", kind: "truncate", afterBytes: 10, announced: true }]);
    const outcome = await pull(hub, own);
    if (outcome.ok) throw new Error("it worked");
    // Of a whole file it is another length, of a range it is an early end.
    expect(["weights_damaged", "hub_unreachable"]).toContain(outcome.failure.code);
    await expectNoBlob(fixture, own);
  });

  test("content that becomes another one in mid-download is never stored under the old name", async () => {
    const own = await addRepo([{ on: "/storage/", kind: "stall", afterBytes: 100_000, times: 1 }]);
    let isChanged = false;
    const onProgress = ({ bytesDone }: { bytesDone: number }) => {
      if (bytesDone === 0 || isChanged) return;
      isChanged = true;
      writeFileSync(join(fixture.root, own, "model.gguf"), randomContent(weights.length));
    };
    const outcome = await pull(impatient, own, { onProgress });
    expect(isChanged).toBe(true);
    if (outcome.ok) expect((await storedContent(fixture, own)).equals(weights)).toBe(true);
    else {
      expect(["weights_damaged", "revision_not_found"]).toContain(outcome.failure.code);
      await expectNoBlob(fixture, own);
    }
  });

  test("a disk that cannot be written to is storage_failed", async () => {
    const own = await addRepo([]);
    // Where the kernel lets nobody make a folder, whoever asks.
    const outcome = await pull(openTestHub("/sys/kernel", fixture.hub.url, { threads, limits }), own);
    expect(outcome).toMatchObject({ ok: false, failure: { code: "storage_failed" } });
  });
});

test("continues where the connection broke, also when the server cannot", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const reset: Fault = { on: "/storage/", kind: "reset", afterBytes: 1_500_000, times: 1 };
  expect(await pullWith(fixture, [reset])).toMatchObject({ ok: true });
  const ranges = fixture.hub.requests
    .filter(({ url }) => url.startsWith("/storage/"))
    .map(({ range }) => range);
  expect(ranges).toHaveLength(2);
  expect(ranges[0]).toBeNull();
  expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-2999999$/);

  await using other = await startFixture({ [repo]: { "model.gguf": weights } });
  const whole: Fault = { on: "/storage/", kind: "no-range" };
  expect(await pullWith(other, [reset, whole])).toMatchObject({ ok: true });
  expect((await storedContent(other)).equals(weights)).toBe(true);
});

test("says whether there is nobody at the endpoint", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const { host } = new URL(fixture.hub.url);
  await fixture.hub.close();
  const outcome = await pull(openTestHub(fixture.home, fixture.hub.url), repo);
  if (outcome.ok) throw new Error("it worked");
  expect(outcome.failure.message).toBe(`${host} refused the connection (5 tries).`);
});

/** A server elsewhere that notes whether it was asked and with what. */
async function startElsewhere(): Promise<{ url: string; seen: (string | undefined)[]; server: Server }> {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end(weights);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`, seen, server };
}

test("a redirect elsewhere does not take the token along", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  await fixture.setAccess({ tokens: { hf_alice: [] } });
  const elsewhere = await startElsewhere();
  // By name, so that the look-up is part of it.
  const to = elsewhere.url.replace("127.0.0.1", "localhost");
  fixture.hub.setFaults([{ on: "/resolve/", kind: "redirect", to }]);
  const outcome = await pull(openTestHub(fixture.home, fixture.hub.url), repo, { token: "hf_alice" });
  elsewhere.server.close();
  expect(outcome).toMatchObject({ ok: true });
  expect(elsewhere.seen).toEqual([undefined]);
});

test("a redirect to this machine or its networks is refused unless it is allowed", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const elsewhere = await startElsewhere();
  const port = new URL(elsewhere.url).port;
  const places = [
    elsewhere.url,
    `http://localhost:${port}/x`,
    `http://[::ffff:127.0.0.1]:${port}/x`,
    "http://169.254.169.254/",
  ];
  for (const to of places) {
    const faults: Fault[] = [{ on: "/resolve/", kind: "redirect", to }];
    const outcome = await pullWith(fixture, faults, { allowPrivateRedirects: false });
    expect(outcome).toMatchObject({ ok: false, failure: { code: "hub_refused" } });
  }
  elsewhere.server.close();
  expect(elsewhere.seen).toEqual([]);
});

test("the next page of a listing must be at the endpoint", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const elsewhere = await startElsewhere();
  const server = createServer((request, response) => {
    const isTree = request.url?.includes("/tree/") === true;
    response.writeHead(200, isTree ? { link: `<${elsewhere.url}>; rel="next"` } : {});
    response.end(isTree ? "[]" : JSON.stringify({ sha: "a".repeat(40) }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/with/a/path/`;
  const outcome = await pull(openTestHub(fixture.home, endpoint), repo);
  server.close();
  elsewhere.server.close();
  expect(outcome).toMatchObject({ ok: false, failure: { code: "no_loadable_weights" } });
  expect(elsewhere.seen).toEqual([]);
});
