/**
 * IP addresses and CIDR ranges, as API tokens and proxies are limited to. Pure. An IPv4 address in IPv6 clothes
 * (`::ffff:1.2.3.4`) is that IPv4 address: which of the two a socket says depends on how it listens. How addresses are
 * read is core/outbound's.
 */
import { type Address, type AddressRange, contains, parseAddress, parseRange } from "./outbound.ts";

export type IpRange = AddressRange;

/** For sentences that refuse a range. */
export const ipRangeRule = "an IPv4 or IPv6 address, or a CIDR range such as 10.0.0.0/8 or 2001:db8::/32";

const clothesBits = 96;

/** Null for what is neither an address nor a CIDR range. Bits after the prefix are ignored, as usual. */
export function parseIpRange(text: string): IpRange | null {
  const range = parseRange(text);
  if (range === null || !isClothed(range)) return range;
  // The prefix of such an address counts the clothes too.
  const bits = range.bits - clothesBits;
  return bits < 0 ? null : { ...undressed(range), bits };
}

/** False for an address that cannot be read. */
export function isInRanges(address: string, ranges: readonly IpRange[]): boolean {
  const own = parseAddress(address);
  return own !== null && ranges.some((range) => contains(range, undressed(own)));
}

function isClothed({ family, value }: Address): boolean {
  return family === 6 && value >> 32n === 0xffffn;
}

function undressed(address: Address): Address {
  return isClothed(address) ? { family: 4, value: address.value & 0xffff_ffffn } : address;
}
