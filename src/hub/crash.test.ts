/** Several processes and `kill -9`: the cache stays right, and what had arrived is not fetched again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Fixture, randomContent, startFixture } from "../../tools/fake-hub/fixture.ts";
import { Cache } from "./cache.ts";
import { openTestHub, pull, sha256Of } from "./testing.ts";

const weights = randomContent(4_000_000);
const testing = new URL("./testing.ts", import.meta.url).href;

/** A process of its own that pulls the repository and ends with 0 when that worked. */
function pullInChild(fixture: Fixture): ChildProcess {
  const script = `
    const { openTestHub, pull } = await import(${JSON.stringify(testing)});
    const hub = openTestHub(${JSON.stringify(fixture.home)}, ${JSON.stringify(fixture.hub.url)});
    process.exit((await pull(hub, "acme/tiny")).ok ? 0 : 1);`;
  return spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
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
    await waitFor(async () => (await recorded()) === before + stallAt);
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

test("three processes at once make one download", async () => {
  await using fixture = await startFixture({ "acme/tiny": { "model.gguf": weights } });
  fixture.hub.setFaults([{ on: "/storage/", kind: "slow", bytesPerS: 20_000_000 }]);
  const children = [pullInChild(fixture), pullInChild(fixture), pullInChild(fixture)];
  const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0] as number));
  expect(codes).toEqual([0, 0, 0]);
  expect(fixture.hub.requests.filter(({ url }) => url.startsWith("/storage/"))).toHaveLength(1);
  expect((await readFile(join(blobFolder(fixture), sha256Of(weights)))).equals(weights)).toBe(true);
});
