import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RangeSet } from "./ranges.ts";
import { dropRecord, RangeRecord, readRecord } from "./record.ts";

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "record-"));
  path = join(folder, "record");
});
afterAll(() => rm(folder, { recursive: true }));

const bytes = 1000;
const begin = (boot: string | null, shown = 0, done = new RangeSet()) =>
  new RangeRecord(path, bytes, boot, done, shown);
const readBack = (boot: string | null, onDisk = bytes) => {
  const { done, shown } = readRecord(path, bytes, onDisk, boot);
  return { done: done.list(), shown };
};

test("gives back what was added, merged, and never beyond the file", () => {
  const record = begin("boot");
  record.add({ start: 0, end: 10 });
  record.add({ start: 500, end: 700 });
  record.add({ start: 10, end: 20 });
  record.close();
  expect(readBack("boot")).toEqual({
    done: [
      { start: 0, end: 20 },
      { start: 500, end: 700 },
    ],
    shown: 0,
  });
  expect(readBack("boot", 600).done.at(-1)).toEqual({ start: 500, end: 600 });
  expect(readBack("boot", 100).done).toEqual([{ start: 0, end: 20 }]);
});

test("after the machine went down only what was synced counts", () => {
  const record = begin("boot", 20);
  record.add({ start: 0, end: 20 });
  record.add({ start: 30, end: 40 });
  record.addDurable([{ start: 0, end: 20 }]);
  record.close();
  for (const boot of ["another", null]) {
    expect(readBack(boot)).toEqual({ done: [{ start: 0, end: 20 }], shown: 20 });
  }
});

test("where starts of the machine cannot be told apart, what was not synced never counts", () => {
  const record = begin(null);
  record.add({ start: 0, end: 20 });
  record.close();
  expect(readBack(null).done).toEqual([]);
});

test("replaced, it forgets the ranges and keeps what was shown", () => {
  const record = begin("boot");
  record.add({ start: 0, end: 900 });
  record.replace(new RangeSet([{ start: 0, end: 100 }]), 900);
  record.add({ start: 200, end: 300 });
  record.close();
  expect(readBack("boot")).toEqual({
    done: [
      { start: 0, end: 100 },
      { start: 200, end: 300 },
    ],
    shown: 900,
  });
});

test("of a file of another length it says nothing", () => {
  const record = begin("boot", 30);
  record.add({ start: 0, end: 30 });
  record.close();
  const { done, shown } = readRecord(path, bytes + 1, bytes, "boot");
  expect([done.bytes, shown]).toEqual([0, 0]);
});

test("cut anywhere, it promises nothing that was not added", async () => {
  const added = [
    { start: 0, end: 100 },
    { start: 300, end: 457 },
    { start: 900, end: 1000 },
  ];
  const record = begin("boot", 5);
  for (const range of added) record.add(range);
  record.close();
  const whole = await readFile(path);
  const truth = new RangeSet(added);
  for (let cut = 0; cut <= whole.length; cut += 1) {
    await writeFile(path, whole.subarray(0, cut));
    const { done, shown } = readBack("boot");
    expect(shown).toBeLessThanOrEqual(5);
    for (const range of done) {
      const without = new RangeSet(truth.list());
      without.add(range);
      expect(without.list()).toEqual(truth.list());
    }
  }
});

test("whatever is in it, it is read without failing and promises nothing impossible", async () => {
  const line = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.tuple(fc.constantFrom("done", "durable"), fc.nat(2000), fc.nat(2000)).map((parts) => parts.join(" ")),
    fc.constant(`done ${"9".repeat(16)} ${"9".repeat(16)}`),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line), async (lines) => {
      await writeFile(path, `berth-ranges 1 ${bytes} boot 9999\n${lines.join("\n")}`);
      const { done, shown } = readBack("boot");
      expect(shown).toBeLessThanOrEqual(bytes);
      for (const { start, end } of done) expect(start >= 0 && start < end && end <= bytes).toBe(true);
    }),
  );
});

test("no record is no range; dropped, nothing is left", async () => {
  begin("boot").close();
  await appendFile(`${path}.new`, "x");
  await dropRecord(path);
  expect(await readdir(folder)).toEqual([]);
  expect(readBack("boot")).toEqual({ done: [], shown: 0 });
});
