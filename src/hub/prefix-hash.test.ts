import { createHash } from "node:crypto";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomContent } from "../../tools/fake-hub/fixture.ts";
import { PrefixHash } from "./prefix-hash.ts";
import { sha256Of } from "./testing.ts";

const content = randomContent(3_000_001);
const never = new AbortController().signal;
let folder: string;
let file: FileHandle;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hash-"));
  file = await open(join(folder, "file"), "w+");
  await file.write(content, 0, content.length, 0);
});
afterAll(async () => {
  await file.close();
  await rm(folder, { recursive: true });
});
const start = (size = content.length) => new PrefixHash(file.fd, size, createHash("sha256"));

test("is the hash of the file, in whatever steps it grows and whoever is first", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(content.length), { maxLength: 6 }),
      fc.boolean(),
      async (steps, waitsFirst) => {
        const hash = start();
        const early = waitsFirst ? hash.digest(never) : null;
        for (const bytes of steps) {
          hash.follow(bytes);
          await nextTurn();
        }
        hash.follow(content.length);
        expect(await (early ?? hash.digest(never))).toBe(sha256Of(content));
      },
    ),
    { numRuns: 20 },
  );
});

test("of an empty file", async () => {
  expect(await start(0).digest(never)).toBe(sha256Of(""));
});

test("ends with the signal's reason, waiting or not, and goes on afterwards", async () => {
  const hash = start();
  const abort = new AbortController();
  const waiting = hash.digest(abort.signal);
  abort.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  hash.follow(content.length);
  await expect(hash.digest(abort.signal)).rejects.toThrow("enough");
  expect(await hash.digest(never)).toBe(sha256Of(content));
});

test("a file that becomes shorter is an error, not a hash", async () => {
  const hash = start(content.length + 1);
  hash.follow(content.length + 1);
  await expect(hash.digest(never)).rejects.toThrow("became shorter");
});
