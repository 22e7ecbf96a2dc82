/** Threads that bring files, as they are: messages, aborts, several at once, and what becomes of idle ones. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import { Cache, realDisk } from "./cache.ts";
import { createCrew } from "./crew.ts";
import { defaultHubLimits } from "./limits.ts";
import { hastyClock, openTestHub, pull, sha256Of } from "./testing.ts";

// A thread gives way to all others: on a busy machine it takes its time to start.
vi.setConfig({ testTimeout: 120_000 });

const mib = 1024 * 1024;
const content = randomContent(4 * mib + 123);
const never = new AbortController().signal;

/** A crew, and one file for it to bring. */
async function openCrew(fixture: Fixture, threads: number, idleEndMs?: number) {
  const cache = new Cache(join(fixture.home, "hub"));
  const hub = openTestHub(fixture.home, fixture.hub.url);
  const listed = await hub.list({ repo: "acme/tiny", revision: null }, null, never);
  if (!listed.ok) throw new Error(listed.failure.message);
  const limits = { ...defaultHubLimits, minFreeBytes: 0, chunkBytes: mib, minChunkBytes: mib / 2 };
  const crew = createCrew({
    ...{ threads, maxConnections: 8, ...(idleEndMs === undefined ? {} : { idleEndMs }) },
    settings: {
      ...{ cacheRoot: cache.root, endpoint: fixture.hub.url, allowPrivateRedirects: true, limits },
    },
    ports: { clock: hastyClock, random: Math.random, disk: realDisk },
  });
  const transfers = listed.value.files.map((file) => ({
    ...{ repo: "acme/tiny", commit: listed.value.commit, folder: null, token: null },
    ...{ file, blob: file.sha256 ?? "" },
  }));
  return { crew, cache, transfers };
}

test("more files than threads come whole, each byte counted once", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 5 }, (_, index) => [`m${index}.gguf`, randomContent(2 * mib + index)]),
  );
  await using fixture = await startFixture({ "acme/tiny": files });
  const { crew, cache, transfers } = await openCrew(fixture, 2);
  expect(transfers).toHaveLength(5);
  await Promise.all(
    transfers.map(async (transfer) => {
      const counts = { here: [] as number[], received: 0 };
      const onBytes = (here: number, received: number) => {
        counts.here.push(here);
        counts.received += received;
      };
      await crew.run(transfer, onBytes, never);
      expect(counts.here).toEqual(counts.here.toSorted((a, b) => a - b));
      expect([counts.here.at(-1), counts.received]).toEqual([transfer.file.bytes, transfer.file.bytes]);
    }),
  );
  for (const [path, bytes] of Object.entries(files)) {
    expect((await readFile(cache.blobPath("acme/tiny", sha256Of(bytes)))).equals(bytes), path).toBe(true);
  }
});

test("several ranges of one file at once", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": content } });
  const { crew, cache, transfers } = await openCrew(fixture, 1);
  for (const transfer of transfers) await crew.run(transfer, () => undefined, never);
  const asked = fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"));
  expect(asked.length).toBeGreaterThan(2);
  expect((await readFile(cache.blobPath("acme/tiny", sha256Of(content)))).equals(content)).toBe(true);
});

test("an abort reaches the thread: the lock is free and what had come is kept", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": content } });
  fixture.hub.setFaults([{ on: "/storage/", kind: "stall", afterBytes: 300_000 }]);
  const { crew, cache, transfers } = await openCrew(fixture, 1);
  const [transfer] = transfers;
  if (transfer === undefined) throw new Error("nothing is listed");
  const abort = new AbortController();
  const running = crew.run(
    transfer,
    (here) => {
      if (here > 0) abort.abort(new Error("enough"));
    },
    abort.signal,
  );
  await expect(running).rejects.toThrow("enough");
  expect((await readdir(join(cache.root, "models--acme--tiny", "blobs"))).length).toBe(2);
  fixture.hub.setFaults([]);
  await crew.run(transfer, () => undefined, never);
  expect((await readFile(cache.blobPath("acme/tiny", sha256Of(content)))).equals(content)).toBe(true);
});

test("a thread that is given up for having nothing to do is given nothing more", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 6 }, (_, index) => [`m${index}.gguf`, randomContent(mib + 1 + index)]),
  );
  await using fixture = await startFixture({ "acme/tiny": files });
  const { crew, transfers } = await openCrew(fixture, 1, 0);
  for (const transfer of transfers) {
    await crew.run(transfer, () => undefined, never);
    // Timers of one length run in order: the thread has been given up now, and has not ended yet.
    await sleep(0);
  }
});

test("a refusal in a thread is told in the same words as here", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": content } });
  const words = [];
  for (const threads of [0, 2]) {
    const hub = openTestHub(fixture.home, fixture.hub.url, { threads });
    fixture.hub.setFaults([{ on: "/resolve/", kind: "status", status: 404 }]);
    const outcome = await pull(hub, "acme/tiny");
    if (outcome.ok) throw new Error("it worked");
    words.push(outcome.failure);
  }
  expect(words[0]).toEqual(words[1]);
});
