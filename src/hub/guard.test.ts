import type { LookupAddress } from "node:dns";
import { expect, test } from "vitest";
import { checkUrl, classifyAddress, guardedLookup, RefusedAddressError } from "./guard.ts";

test.each([
  ["8.8.8.8", "public"],
  ["172.15.255.255", "public"],
  ["172.32.0.1", "public"],
  ["2606:4700::1111", "public"],
  ["::ffff:8.8.8.8", "public"],
  ["64:ff9b::8.8.8.8", "public"],
  ["127.0.0.1", "private"],
  ["127.255.0.3", "private"],
  ["10.1.2.3", "private"],
  ["172.16.0.1", "private"],
  ["192.168.1.1", "private"],
  ["100.64.0.1", "private"],
  ["::1", "private"],
  ["fd12:3456::1", "private"],
  ["::ffff:127.0.0.1", "private"],
  ["::ffff:a00:1", "private"],
  ["64:ff9b::c0a8:1", "private"],
  ["169.254.169.254", "never"],
  ["::ffff:169.254.169.254", "never"],
  ["64:ff9b::a9fe:a9fe", "never"],
  ["100.100.100.200", "never"],
  ["fd00:ec2::254", "never"],
  ["0.0.0.0", "never"],
  ["::", "never"],
  ["224.0.0.1", "never"],
  ["255.255.255.255", "never"],
  ["fe80::1", "never"],
  ["fe80::1%eth0", "never"],
  ["ff02::1", "never"],
  ["2001:db8::1", "never"],
  ["2002:7f00:1::", "never"],
  ["::7f00:1", "never"],
  ["localhost", "never"],
])("%s is %s", (address, expected) => {
  expect(classifyAddress(address)).toBe(expected);
});

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
