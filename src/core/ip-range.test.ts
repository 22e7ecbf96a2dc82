import { BlockList, isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isInRanges, parseIpRange } from "./ip-range.ts";

const within = (address: string, ...ranges: string[]) =>
  isInRanges(
    address,
    ranges.map(parseIpRange).filter((range) => range !== null),
  );

test.each([
  "",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.256",
  "01.2.3.4",
  "1.2.3.4/",
  "1.2.3.4/33",
  "1.2.3.4/8/8",
  "1.2.3.4.",
  "::/129",
  ":::",
  "1:2:3:4:5:6:7",
  "1::2::3",
  "g::",
  "12345::",
  "fe80::1%eth0",
  "::1.2.3",
  "localhost",
  "1.2.3.4/-1",
  "1:2:3:4:5:6:7:8:9",
  "::ffff:1.2.3.4/90",
  ":1:2:3:4:5:6:7",
  " 1.2.3.4",
])("%j is no range", (text) => {
  expect(parseIpRange(text)).toBeNull();
});

test("addresses, ranges, and IPv4 in IPv6 clothes", () => {
  expect(within("10.1.2.3", "10.0.0.0/8")).toBe(true);
  expect(within("11.1.2.3", "10.0.0.0/8")).toBe(false);
  expect(within("10.1.2.3", "10.9.9.9/8")).toBe(true);
  expect(within("192.0.2.1", "192.0.2.1")).toBe(true);
  expect(within("::ffff:192.0.2.1", "192.0.2.1")).toBe(true);
  expect(within("192.0.2.1", "::ffff:192.0.2.0/120")).toBe(true);
  expect(within("2001:db8::1", "2001:DB8::/32")).toBe(true);
  expect(within("2001:db9::1", "2001:db8::/32")).toBe(false);
  expect(within("::1", "0.0.0.0/0")).toBe(false);
  expect(within("1.2.3.4", "::/0")).toBe(false);
  expect(within("", "0.0.0.0/0", "::/0")).toBe(false);
  expect(within("1.2.3.4")).toBe(false);
});

test("agrees with Node on every address and range", () => {
  const v4 = fc.ipV4();
  const v6 = fc.ipV6().filter((text) => isIP(text) === 6 && !/^(0*:)*:?(0*:)*ffff:/i.test(text));
  const of = (address: fc.Arbitrary<string>, bits: number) =>
    fc.tuple(address, address, fc.integer({ min: 0, max: bits }));
  fc.assert(
    fc.property(fc.oneof(of(v4, 32), of(v6, 128)), ([address, base, prefix]) => {
      const family = isIP(base) === 6 ? "ipv6" : "ipv4";
      const list = new BlockList();
      list.addSubnet(base, prefix, family);
      expect(within(address, `${base}/${prefix}`)).toBe(list.check(address, family));
      expect(within(base, `${base}/${prefix}`)).toBe(true);
    }),
  );
});

test("takes for an address exactly what Node takes", () => {
  const text = fc.string({ unit: fc.constantFrom(..."0129af:.".split("")), maxLength: 24 });
  fc.assert(
    fc.property(fc.oneof(text, fc.ipV6(), fc.ipV4()), (any) => {
      expect(parseIpRange(any) !== null).toBe(isIP(any) !== 0);
    }),
    { numRuns: 2000 },
  );
});
