/** Several processes and `kill -9`: the cache stays right, and what had arrived is not fetched again. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "../../test/harness/until.ts";
import { makeCertificate } from "../../tools/fake-hub/certificate.ts";
import { type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import { Cache } from "./cache.ts";
import { openTestHub, pull, sha256Of } from "./testing.ts";

const weights = randomContent(4_000_000);
const testing = new URL("./testing.ts", import.meta.url).href;

/** A process of its own that pulls the repository and ends with 0 when that worked; says its progress line by line. */
function pullInChild(fixture: Fixture, options: object = {}, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const script = `
    const { openTestHub, pull } = await import(${JSON.stringify(testing)});
    const hub = openTestHub(${JSON.stringify(fixture.home)}, ${JSON.stringify(fixture.hub.url)}, ${JSON.stringify(options)});
    const onProgress = ({ bytesDone }) => void process.stdout.write(bytesDone + "\\n");
    process.exit((await pull(hub, "acme/tiny", { onProgress })).ok ? 0 : 1);`;
  // A file, as its threads inherit the flags it was started with, and could not be started with text.
  const path = join(fixture.root, "pull.mjs");
  writeFileSync(path, script);
  return spawn(process.execPath, [path], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
}

function blobFolder(fixture: Fixture): string {
  return join(fixture.home, "hub", "models--acme--tiny", "blobs");
}

test("killed in mid-download, the next process goes on from there and ends with the right file", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": weights } });
  const cache = new Cache(join(fixture.home, "hub"));
  const recorded = async () =>
    (await cache.incompleteBytes("acme/tiny", sha256Of(weights), weights.length)).onDisk;
  for (const stallAt of [1_000_000, 500_000]) {
    fixture.hub.setFaults([{ on: "/storage/", kind: "stall", afterBytes: stallAt }]);
    const before = await recorded();
    const child = pullInChild(fixture);
    await until("the stall", async () => (await recorded()) === before + stallAt);
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  expect((await readdir(blobFolder(fixture))).sort()).toEqual([
    `${sha256Of(weights)}.berth-ranges.incomplete`,
    `${sha256Of(weights)}.berth.incomplete`,
  ]);
  fixture.hub.setFaults([]);
  expect(await pull(openTestHub(fixture.home, fixture.hub.url), "acme/tiny")).toMatchObject({ ok: true });
  expect(fixture.hub.requests.at(-1)?.range).toBe("bytes=1500000-3999999");
  expect((await readFile(join(blobFolder(fixture), sha256Of(weights)))).equals(weights)).toBe(true);
  expect(await readdir(blobFolder(fixture))).toEqual([sha256Of(weights)]);
});

test("killed at random moments of one download of many pieces, in a thread, it costs little and ends right", async () => {
  const content = randomContent(32_000_000);
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": content } });
  // Slow enough for one download to be killed many times.
  fixture.hub.setFaults([{ on: "/storage/", kind: "slow", bytesPerS: 2_000_000 }]);
  const [kills, maxConnections, chunkBytes] = [15, 4, 500_000];
  const options = { threads: 1, limits: { maxConnections, chunkBytes, minChunkBytes: chunkBytes } };
  const shown: number[] = [];
  const start = (onMove: (child: ChildProcess) => void) => {
    const child = pullInChild(fixture, options);
    const before = shown.length;
    child.stdout?.on("data", (text) => {
      shown.push(...String(text).trim().split("\n").map(Number));
      // The first thing it says is where it begins.
      if (shown.length > before + 1) onMove(child);
    });
    return once(child, "exit");
  };
  for (let kill = 0; kill < kills; kill += 1) {
    // Whichever comes first, the end or this, is right.
    await start((child) => void setTimeout(() => child.kill("SIGKILL"), randomInt(0, 200)));
  }
  expect((await start(() => undefined))[0]).toBe(0);
  const blob = join(blobFolder(fixture), sha256Of(content));
  expect((await readFile(blob)).equals(content)).toBe(true);
  // A killed process costs at most what each of its connections had under way.
  expect(fixture.hub.sentBytes()).toBeLessThanOrEqual(content.length + kills * maxConnections * chunkBytes);
  expect(shown).toEqual(shown.toSorted((a, b) => a - b));
  expect(shown.at(-1)).toBe(content.length);
});

test("eight processes at once make one download", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": weights } });
  fixture.hub.setFaults([{ on: "/storage/", kind: "slow", bytesPerS: 20_000_000 }]);
  const children = Array.from({ length: 8 }, () => pullInChild(fixture));
  const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0] as number));
  expect(codes).toEqual(children.map(() => 0));
  expect(fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"))).toHaveLength(1);
  expect((await readFile(join(blobFolder(fixture), sha256Of(weights)))).equals(weights)).toBe(true);
});

test("threads of a process speak TLS by the authorities it trusts, with the storage on a port of its own", async () => {
  const certificate = makeCertificate();
  const options = { certificate, separateStorage: true };
  await using fixture = await startFixture(
    { "acme/tiny": { "model.gguf": weights, "config.json": "{}" } },
    options,
  );
  const threads = {
    threads: 2,
    allowPrivateRedirects: true,
    limits: { chunkBytes: 500_000, minChunkBytes: 500_000 },
  };
  const authorities = join(fixture.home, "authorities.pem");
  writeFileSync(authorities, certificate.cert);
  const [refused] = await once(pullInChild(fixture, { ...threads, limits: { attempts: 1 } }), "exit");
  expect(refused).toBe(1);
  const [code] = await once(pullInChild(fixture, threads, { NODE_EXTRA_CA_CERTS: authorities }), "exit");
  expect(code).toBe(0);
  expect((await readFile(join(blobFolder(fixture), sha256Of(weights)))).equals(weights)).toBe(true);
  expect(
    fixture.hub.requests.filter(({ at, range }) => at === "storage" && range !== null).length,
  ).toBeGreaterThan(1);
});
