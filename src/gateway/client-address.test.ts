import { expect, test } from "vitest";
import { originOf, trustList } from "./client-address.ts";

const trusted = trustList(["10.0.0.0/8", "::1", "fd00::/8"]);
const addressOf = (peer: string, forwardedFor: string) =>
  originOf(peer, { "x-forwarded-for": forwardedFor, host: "h" }, false, trusted).address;

test.each([
  ["1.2.3.4", "6.6.6.6", "1.2.3.4"],
  ["10.0.0.1", "", "10.0.0.1"],
  ["10.0.0.1", "6.6.6.6, 5.5.5.5", "5.5.5.5"],
  ["::ffff:10.0.0.1", "6.6.6.6, 5.5.5.5,10.9.9.9", "5.5.5.5"],
  ["::1", "[2001:db8::1]:443, fd00::2", "2001:db8::1"],
  ["10.0.0.1", "5.5.5.5:4711", "5.5.5.5"],
  ["10.0.0.1", "6.6.6.6, not-an-address, 10.0.0.2", "10.0.0.2"],
  ["10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
])("peer %s saying %j is %s", (peer, forwardedFor, address) => {
  expect(addressOf(peer, forwardedFor)).toBe(address);
});

test("scheme and host are believed from a trusted peer only, and only when they make sense", () => {
  const headers = { "x-forwarded-proto": "https", "x-forwarded-host": "front", host: "own" };
  expect(originOf("1.2.3.4", headers, false, trusted)).toEqual({
    address: "1.2.3.4",
    proto: "http",
    host: "own",
  });
  expect(originOf("10.0.0.1", headers, false, trusted)).toEqual({
    address: "10.0.0.1",
    proto: "https",
    host: "front",
  });
  expect(originOf("10.0.0.1", { "x-forwarded-proto": "gopher", host: "own" }, true, trusted).proto).toBe(
    "https",
  );
});

test.each(["nonsense", "10.0.0.0/99", "10.0.0.0/", "10.0.0.0/8/8", ""])("%j is no range", (range) => {
  expect(() => trustList([range])).toThrow();
});
