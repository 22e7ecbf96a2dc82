import { constants } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { randomContent } from "../../tools/fake-hub/fixture.ts";
import type { RepoFile } from "../core/deployment.ts";
import { Part } from "./part.ts";
import { gitOidOf, sha256Of } from "./testing.ts";

const content = randomContent(1000);
const file = { path: "model.gguf", bytes: 1000, sha256: sha256Of(content), gitOid: null };
const never = new AbortController().signal;
let folder: string;
let shown: number[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "part-"));
  shown = [];
});
afterEach(() => rm(folder, { recursive: true }));

async function openPart(of: RepoFile = file, blob = file.sha256): Promise<Part> {
  const handle = await open(join(folder, "file"), constants.O_RDWR | constants.O_CREAT);
  return await Part.open(handle, join(folder, "record"), of, blob, (bytes) => void shown.push(bytes));
}

function put(part: Part, start: number, end: number, bytes = content): void {
  part.write(bytes.subarray(start, end), start);
  part.land({ start, end }, end - start);
}

test("ranges in any order make the file and its hash", async () => {
  const part = await openPart();
  for (const [start, end] of [
    [600, 1000],
    [0, 300],
    [300, 600],
  ] as const)
    put(part, start, end);
  expect(await part.digest(never)).toBe(file.sha256);
  await part.sync();
  await part.close();
  expect(shown).toEqual([0, 400, 700, 1000]);
});

test("git's blob id where a file has no other hash", async () => {
  const small = { ...file, sha256: null, gitOid: gitOidOf(content) };
  const part = await openPart(small, small.gitOid);
  put(part, 0, 1000);
  expect(await part.digest(never)).toBe(small.gitOid);
  await part.close();
});

test("the next process goes on with the ranges of the last one, and suspects them first", async () => {
  const before = await openPart();
  put(before, 200, 500);
  await before.close();
  const part = await openPart();
  expect(part.done.list()).toEqual([{ start: 200, end: 500 }]);
  put(part, 0, 200);
  put(part, 500, 1000);
  expect(part.suspects()).toEqual([{ start: 200, end: 500 }]);
  expect(await part.digest(never)).toBe(file.sha256);
  await part.close();
});

test("bytes that were written but not landed do not count for the next process", async () => {
  const before = await openPart();
  put(before, 0, 100);
  before.write(content.subarray(100, 900), 100);
  await before.close();
  const part = await openPart();
  expect(part.done.list()).toEqual([{ start: 0, end: 100 }]);
  await part.close();
});

describe("a wrong hash", () => {
  test("is blamed on what came over a bad connection; fetched again, the file is right", async () => {
    const part = await openPart();
    put(part, 0, 400);
    put(part, 400, 600, Buffer.alloc(1000));
    part.suspect({ start: 400, end: 600 });
    put(part, 600, 1000);
    expect(await part.digest(never)).not.toBe(file.sha256);
    const blamed = part.suspects();
    expect(blamed).toEqual([{ start: 400, end: 600 }]);
    part.forget(blamed ?? []);
    expect(part.done.gaps(1000)).toEqual([{ start: 400, end: 600 }]);
    expect(part.suspects()).toBeNull();
    put(part, 400, 600);
    expect(await part.digest(never)).toBe(file.sha256);
    await part.close();
  });

  test("with nobody to blame, or everybody, is blamed on the whole", async () => {
    const part = await openPart();
    put(part, 0, 1000);
    expect(part.suspects()).toBeNull();
    part.suspect({ start: 0, end: 1000 });
    expect(part.suspects()).toBeNull();
    await part.close();
  });
});

test("what was shown is never taken back, by a later process neither", async () => {
  const before = await openPart();
  put(before, 0, 900);
  before.forget([{ start: 0, end: 900 }]);
  put(before, 0, 100);
  await before.close();
  const part = await openPart();
  put(part, 100, 950);
  put(part, 950, 1000);
  await part.close();
  expect(shown).toEqual([0, 900, 900, 900, 900, 950, 1000]);
});

test("a growing file that is longer than it should be is cut, its record kept", async () => {
  const before = await openPart();
  put(before, 0, 1000);
  before.write(Buffer.alloc(500), 1000);
  await before.close();
  const part = await openPart();
  expect(part.done.list()).toEqual([{ start: 0, end: 1000 }]);
  expect(await part.digest(never)).toBe(file.sha256);
  await part.close();
});
