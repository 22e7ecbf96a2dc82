import { lstatSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { runDirectory } from "./run-directory.ts";

const home = mkdtempSync(join(tmpdir(), "berth-run-"));
afterAll(() => rmSync(home, { recursive: true }));

it("is in a short home, private", () => {
  expect(runDirectory(home)).toBe(join(home, "run"));
  expect(lstatSync(join(home, "run")).mode & 0o777).toBe(0o700);
});

it("is elsewhere for a home that is too long for a socket, and always the same", () => {
  const long = join(home, "x".repeat(120));
  const directory = runDirectory(long);
  expect(directory.length).toBeLessThan(80);
  expect(runDirectory(long)).toBe(directory);
  expect(runDirectory(`${long}y`)).not.toBe(directory);
  for (const one of [directory, runDirectory(`${long}y`)]) rmSync(one, { recursive: true });
});
