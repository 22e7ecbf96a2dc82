import { expect, test } from "vitest";
import { formatBytes, type HubError, storageError } from "./failures.ts";

function diskError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: /home/someone/secret`), { code, errno: -1 });
}

test.each([
  ["ENOSPC", "disk_full"],
  ["EDQUOT", "disk_full"],
  ["EACCES", "storage_failed"],
  ["EROFS", "storage_failed"],
  ["EISDIR", "storage_failed"],
])("%s becomes %s and names no path", (code, expected) => {
  const error = storageError(diskError(code), "o/n", 9_000_000, 5_300_000_000) as HubError;
  expect(error.failure.code).toBe(expected);
  expect(JSON.stringify(error.failure)).not.toContain("/home");
  if (expected === "disk_full") expect(error.failure.message).toContain("5.3 GB free");
});

test("leaves every other error as it is", () => {
  const reason = new DOMException("stop", "AbortError");
  expect(storageError(reason, "o/n", null, null)).toBe(reason);
  expect(storageError(undefined, "o/n", null, null)).toBeUndefined();
  const defect = new TypeError("x");
  expect(storageError(defect, "o/n", null, null)).toBe(defect);
});

test.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1500, "1.5 kB"],
  [5_300_000_000, "5.3 GB"],
])("%d is %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
