import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { failure } from "../../core/failure.ts";
import { checkId, openInstanceFolders, type SavedRecord } from "./record.ts";

const record: SavedRecord = {
  version: 1,
  id: "one",
  deploymentId: "dep",
  engine: "embedded",
  placement: { node: "here", gpus: ["GPU-1"] },
  endpoint: { kind: "unix", path: "/run/one.sock" },
  secret: "0123456789abcdef",
  startedAtMs: 5,
  process: { pid: 42, startedAt: "boot/1" },
  ready: { atMs: 7, slots: 2, contextTokens: 512, note: null },
};

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-record-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it("gives back what was saved, readable by this user alone", async () => {
  const folders = openInstanceFolders(root);
  await folders.create("one");
  await folders.saveRecord({ ...record, process: null });
  await folders.saveRecord(record);
  expect(await folders.read("one")).toEqual({ ok: true, record, exit: null });
  const exit = {
    atMs: 9,
    code: null,
    signal: "SIGKILL",
    failure: failure("out_of_memory", "It ended.", "Wait."),
  };
  await folders.saveExit("one", exit);
  expect(await folders.read("one")).toEqual({ ok: true, record, exit });
  expect(readdirSync(join(root, "one")).sort()).toEqual(["engine", "exit.json", "record.json"]);
  expect(statSync(join(root, "one", "record.json")).mode & 0o777).toBe(0o600);
});

it("says that a record is damaged, and takes a damaged exit for none", async () => {
  const folders = openInstanceFolders(root);
  await folders.create("one");
  expect(await folders.read("one")).toMatchObject({ ok: false });
  for (const text of ["", "{", "{}", JSON.stringify({ ...record, process: { pid: 1, startedAt: "x" } })]) {
    writeFileSync(join(root, "one", "record.json"), text);
    expect(await folders.read("one")).toMatchObject({ ok: false });
  }
  await folders.saveRecord(record);
  writeFileSync(join(root, "one", "exit.json"), "{");
  expect(await folders.read("one")).toEqual({ ok: true, record, exit: null });
});

it("does not take a record for another instance's", async () => {
  const folders = openInstanceFolders(root);
  await folders.create("one");
  await folders.saveRecord(record);
  await folders.create("two");
  writeFileSync(join(root, "two", "record.json"), JSON.stringify(record));
  expect(await folders.read("two")).toMatchObject({
    ok: false,
    why: expect.stringContaining("another instance"),
  });
});

it("lists folders that are instances', none where nothing is", async () => {
  expect(await openInstanceFolders(join(root, "none")).list()).toEqual([]);
  mkdirSync(join(root, "one"));
  mkdirSync(join(root, ".hidden"));
  writeFileSync(join(root, "file"), "");
  expect(await openInstanceFolders(root).list()).toEqual(["one"]);
});

it("refuses ids that could be paths", () => {
  for (const id of ["", ".", "..", "a/b", "../a", "a\0", "-a", "a".repeat(65)])
    expect(() => checkId(id)).toThrow();
  expect(checkId("Ab-9_x")).toBe("Ab-9_x");
});
