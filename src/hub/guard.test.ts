import type { LookupAddress } from "node:dns";
import { expect, test } from "vitest";
import { checkUrl, guardedLookup, RefusedAddressError } from "./guard.ts";

test.each([
  "ftp://example.com/",
  "file:///etc/passwd",
  "http://127.0.0.1/",
  "http://2130706433/",
  "http://0x7f.1/",
  "http://[::1]/",
  "http://[::ffff:127.0.0.1]/",
  "http://169.254.169.254/latest/meta-data",
  "https://user:secret@example.com/",
])("refuses %s", (url) => {
  expect(() => checkUrl(new URL(url), false)).toThrow(RefusedAddressError);
});

test("allows private addresses where they are allowed, but never metadata services", () => {
  expect(() => checkUrl(new URL("http://127.0.0.1/"), true)).not.toThrow();
  expect(() => checkUrl(new URL("http://[fd12::1]/"), true)).not.toThrow();
  expect(() => checkUrl(new URL("http://169.254.169.254/"), true)).toThrow(RefusedAddressError);
});

function lookUp(answers: LookupAddress[], options: { all?: boolean; allowPrivate?: boolean } = {}) {
  const lookup = guardedLookup(options.allowPrivate ?? false, (_name, _options, callback) =>
    callback(null, answers),
  );
  return new Promise((resolve) => {
    lookup("host.example", { all: options.all ?? true }, (error, address) => resolve(error ?? address));
  });
}

const inside = { address: "10.0.0.7", family: 4 };
const outside = { address: "93.184.216.34", family: 4 };

test("hands only checked addresses to the socket", async () => {
  expect(await lookUp([inside, outside])).toEqual([outside]);
  expect(await lookUp([inside, outside], { all: false })).toBe(outside.address);
  expect(await lookUp([inside], { allowPrivate: true })).toEqual([inside]);
});

test("fails when a name has no address that is allowed", async () => {
  expect(await lookUp([inside])).toBeInstanceOf(RefusedAddressError);
  expect(await lookUp([])).toBeInstanceOf(RefusedAddressError);
});
