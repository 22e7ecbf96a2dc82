/** Several ranges of one file: which are fetched, which again, and that it ends. */
import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { expect, onTestFinished, test, vi } from "vitest";
import { makeCertificate } from "../../tools/fake-hub/certificate.ts";
import type { Fault } from "../../tools/fake-hub/faults.ts";
import { type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import { Cache, realDisk } from "./cache.ts";
import { downloadBlob } from "./download.ts";
import { Endpoint } from "./endpoint.ts";
import { defaultHubLimits } from "./limits.ts";
import { createConnectionPool } from "./pool.ts";
import { RangeSet } from "./ranges.ts";
import { hastyClock, openTestHub, pull, sha256Of } from "./testing.ts";

// A thread gives way to all others: on a busy machine it takes its time to start.
vi.setConfig({ testTimeout: 120_000 });

const weights = randomContent(3_000_000);
const repo = "acme/tiny";
const pieces = { chunkBytes: 400_000, minChunkBytes: 200_000 };

async function storedContent(fixture: Fixture): Promise<Buffer> {
  return await readFile(join(fixture.home, "hub", "models--acme--tiny", "blobs", sha256Of(weights)));
}

/** The ranges that storage was asked for, in order. */
function askedRanges(fixture: Fixture): { start: number; end: number }[] {
  return fixture.hub.requests.flatMap(({ url, range }) => {
    if (!url.startsWith("/storage/")) return [];
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    return [{ start: Number(from ?? 0), end: Number(to ?? weights.length - 1) + 1 }];
  });
}

function sumOf(ranges: readonly { start: number; end: number }[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

test.each([0, 1])(
  "every byte is asked for once, in pieces of the size that was set (threads: %i)",
  async (threads) => {
    await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
    const hub = openTestHub(fixture.home, fixture.hub.url, { threads, limits: pieces });
    expect(await pull(hub, repo)).toMatchObject({ ok: true });
    const asked = askedRanges(fixture);
    expect(new RangeSet(asked).list()).toEqual([{ start: 0, end: weights.length }]);
    expect(sumOf(asked)).toBe(weights.length);
    expect(Math.max(...asked.map(({ start, end }) => end - start))).toBeLessThanOrEqual(400_000);
    expect(asked.length).toBeGreaterThanOrEqual(8);
    expect((await storedContent(fixture)).equals(weights)).toBe(true);
  },
);

test("a wrong byte in what an earlier download left costs that piece, not the file", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const hub = openTestHub(fixture.home, fixture.hub.url, { limits: { ...pieces, maxConnections: 1 } });
  await damageFirstPiece(fixture);
  expect(await pull(hub, repo)).toMatchObject({ ok: true });
  expect((await storedContent(fixture)).equals(weights)).toBe(true);
  const again = sumOf(askedRanges(fixture)) - weights.length;
  expect(again).toBeGreaterThan(0);
  expect(again).toBeLessThanOrEqual(400_000);
});

/** An earlier download wrote a piece wrongly, as after a fault of memory or disk. Returns how much of it was shown. */
async function damageFirstPiece(fixture: Fixture): Promise<number> {
  let shown = 0;
  const stall: Fault = { on: "/storage/", kind: "stall", afterBytes: 100_000 };
  fixture.hub.setFaults([stall]);
  const abort = new AbortController();
  const hub = openTestHub(fixture.home, fixture.hub.url, { limits: { ...pieces, maxConnections: 1 } });
  const onProgress = ({ bytesDone }: { bytesDone: number }) => {
    shown = Math.max(shown, bytesDone);
    if (bytesDone > 0) abort.abort(new Error("enough"));
  };
  await expect(pull(hub, repo, { signal: abort.signal, onProgress })).rejects.toThrow("enough");
  fixture.hub.setFaults([]);
  const name = `${sha256Of(weights)}.berth.incomplete`;
  const file = await open(join(fixture.home, "hub", "models--acme--tiny", "blobs", name), "r+");
  await file.write(Buffer.from([(weights[5000] ?? 0) ^ 0xff]), 0, 1, 5000);
  await file.close();
  return shown;
}

test("blame ends: after one round of suspects everything is fetched once more, and then it is over", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  // In each round a connection breaks, so that there would always be somebody else to blame.
  const faults = Array.from({ length: 60 }, (_, round): Fault[] => [
    { on: "/storage/", kind: "truncate", afterBytes: 100_000 - round, announced: round > 0, times: 1 },
    { on: "/storage/", kind: "corrupt", atByte: 200_000, times: 1 },
  ]);
  fixture.hub.setFaults(faults.flat());
  const outcome = await pull(openTestHub(fixture.home, fixture.hub.url), repo);
  expect(outcome).toMatchObject({ ok: false, failure: { code: "weights_damaged" } });
  expect(fixture.hub.requests.length).toBeLessThan(15);
});

test.each([0, 1])("a connection that is too slow is replaced where it was (threads: %i)", async (threads) => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  fixture.hub.setFaults([{ on: "/storage/", kind: "slow", bytesPerS: 1000, times: 1 }]);
  const limits = { ...pieces, floorBytesPerS: 100_000, slowWindowMs: 300 };
  const hub = openTestHub(fixture.home, fixture.hub.url, { threads, limits });
  expect(await pull(hub, repo)).toMatchObject({ ok: true });
  expect((await storedContent(fixture)).equals(weights)).toBe(true);
  const asked = askedRanges(fixture);
  const slow = asked[0];
  // The rest of the piece was asked for again, and only the rest.
  const rest = asked.slice(1).filter(({ end }) => end === slow?.end);
  expect(rest).toHaveLength(1);
  expect(rest[0]?.start).toBeGreaterThan(0);
});

test("progress is told from where it was, and what was told is never taken back", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const shown = await damageFirstPiece(fixture);
  const pulled = await pull(openTestHub(fixture.home, fixture.hub.url, { limits: pieces }), repo);
  if (!pulled.ok) throw new Error(pulled.failure.message);
  const done = pulled.value.progress.map(({ bytesDone }) => bytesDone);
  expect(shown).toBeGreaterThan(0);
  expect(done[0]).toBeGreaterThanOrEqual(shown);
  expect(done).toEqual(done.toSorted((a, b) => a - b));
  expect(done.at(-1)).toBe(weights.length);
});

test("a clock that jumps, forwards and back, changes nothing", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  fixture.hub.setFaults([
    { on: "/storage/", kind: "status", status: 503, retryAfter: new Date().toUTCString(), times: 2 },
    { on: "/storage/", kind: "slow", bytesPerS: 2_000_000 },
  ]);
  const years = [0, 40, -20, 3, -50];
  let looks = 0;
  const clock = {
    ...hastyClock,
    now: () => Date.now() + (years[looks++ % years.length] ?? 0) * 365 * 86_400_000,
  };
  const pulled = await pull(openTestHub(fixture.home, fixture.hub.url, { clock, limits: pieces }), repo);
  if (!pulled.ok) throw new Error(pulled.failure.message);
  expect((await storedContent(fixture)).equals(weights)).toBe(true);
  for (const { bytesPerS } of pulled.value.progress) expect(bytesPerS).toBeGreaterThanOrEqual(0);
});

/** Its growing files are on a disk that is full: the kernel itself says so. */
class FullCache extends Cache {
  override async openIncomplete(repo: string, blob: string): Promise<FileHandle> {
    await (await super.openIncomplete(repo, blob)).close();
    return await open("/dev/full", constants.O_RDWR);
  }
}

test("a full disk is said with both numbers, and what filled it is given back", async () => {
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } });
  const hub = openTestHub(fixture.home, fixture.hub.url);
  const signal = new AbortController().signal;
  const listed = await hub.list({ repo, revision: null }, null, signal);
  if (!listed.ok) throw new Error(listed.failure.message);
  const [file] = listed.value.files;
  if (file === undefined) throw new Error("nothing is listed");
  const rule = { ...defaultHubLimits, clock: hastyClock, random: Math.random };
  const from = { ...defaultHubLimits, endpoint: fixture.hub.url, allowPrivateRedirects: true };
  const endpoint = new Endpoint(from, rule);
  const cache = new FullCache(join(fixture.home, "hub"));
  const job = {
    ...{ repo, file, blob: sha256Of(weights), host: endpoint.host, cache, rule },
    ...{ open: endpoint.opener(repo, listed.value.commit, null), lanes: { ...defaultHubLimits, ...pieces } },
    ...{ disk: { ...realDisk, freeBytes: async () => 12_345 }, minFreeBytes: 0 },
    ...{ share: createConnectionPool(4).join().share, onBytes: () => undefined },
  };
  await expect(downloadBlob(job, signal)).rejects.toMatchObject({
    failure: { code: "disk_full", message: expect.stringMatching(/12\.3 kB free.*3\.0 MB still to come/) },
  });
  expect(await cache.incompleteBytes(repo, job.blob, file.bytes)).toEqual({ onDisk: 0, shown: 0 });
});

test("over TLS, from a storage of its own, with the token at the hub alone", async () => {
  const certificate = makeCertificate();
  const trusted = getCACertificates("default");
  setDefaultCACertificates([...trusted, certificate.cert]);
  onTestFinished(() => setDefaultCACertificates(trusted));
  const options = { certificate, separateStorage: true };
  await using fixture = await startFixture({ [repo]: { "model.gguf": weights } }, options);
  await fixture.setAccess({ private: [repo], tokens: { hf_alice: [repo] } });
  fixture.hub.setFaults([
    { on: "/storage/", kind: "reset", afterBytes: 50_000, skip: 2, times: 2 },
    { on: "/storage/", kind: "status", status: 403, skip: 5, times: 1 },
  ]);
  const hub = openTestHub(fixture.home, fixture.hub.url, { limits: pieces });
  expect(await pull(hub, repo, { token: "hf_alice" })).toMatchObject({ ok: true });
  expect((await storedContent(fixture)).equals(weights)).toBe(true);
  for (const { at, authorization } of fixture.hub.requests) {
    expect(authorization).toBe(at === "hub" ? "Bearer hf_alice" : null);
  }
});
