import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { holdLock } from "./lock.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("is held by one at a time and can be had again after its release", () => {
  const path = join(folder, "lock");
  const held = holdLock(path);
  expect(held).not.toBe(null);
  expect(holdLock(path)).toBe(null);
  held?.release();
  const again = holdLock(path);
  expect(again).not.toBe(null);
  again?.release();
});

it("is held by another process until that one is killed", async () => {
  const path = join(folder, "lock");
  const code = `
    import { holdLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
    console.log(holdLock(${JSON.stringify(path)}) === null ? "refused" : "held");
    gc();
    setInterval(() => undefined, 1000);
  `;
  const holder = spawn(process.execPath, ["--expose-gc", "--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [answer] = (await once(holder.stdout, "data")) as [Buffer];
  expect(answer.toString().trim()).toBe("held");
  expect(holdLock(path)).toBe(null);
  expect(readdirSync(folder)).toEqual(["lock"]);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  const held = holdLock(path);
  expect(held).not.toBe(null);
  held?.release();
});

it("does not touch a file that is something else", () => {
  const path = join(folder, "lock");
  writeFileSync(path, "precious");
  expect(() => holdLock(path)).toThrow("not a database");
});
