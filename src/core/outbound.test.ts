import { BlockList, isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { classifyAddress, isWithin, parseAddress, parseRange } from "./outbound.ts";

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

const v4 = fc.ipV4();
const v6 = fc.ipV6();

const standsForV4 = (value: bigint) => [0xffffn, 0x64ff9bn << 64n].includes(value >> 32n);

test("reads what Node takes for an address, and nothing else", () => {
  const almost = fc.stringMatching(/^[0-9a-f:.%x]{0,24}$/);
  fc.assert(
    fc.property(fc.oneof(v4, v6, almost), (text) => {
      expect(parseAddress(text)?.family ?? 0).toBe(text.includes("%") ? 0 : isIP(text));
    }),
  );
});

test("is within a range where Node says so", () => {
  const range = fc.oneof(
    fc.tuple(v4, fc.integer({ min: 0, max: 32 })),
    fc.tuple(v6, fc.integer({ min: 0, max: 128 })),
  );
  fc.assert(
    fc.property(range, fc.oneof(v4, v6), ([network, bits], text) => {
      const list = new BlockList();
      list.addSubnet(network, bits, isIP(network) === 4 ? "ipv4" : "ipv6");
      const [address, parsed] = [parseAddress(text), parseRange(`${network}/${bits}`)];
      if (address === null || parsed === null) throw new Error("both are valid");
      // An IPv6 address that stands for an IPv4 one is compared as that, which Node has in part only.
      fc.pre(address.family === parsed.family && !standsForV4(address.value));
      expect(isWithin(address, [parsed])).toBe(list.check(text, isIP(text) === 4 ? "ipv4" : "ipv6"));
    }),
  );
});
