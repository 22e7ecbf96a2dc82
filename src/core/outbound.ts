/**
 * Which addresses a request that a user can cause may go to. Owns the address ranges and how addresses are read; whoever
 * connects looks names up itself and hands what it finds to this. Pure.
 */

/** public: anywhere on the internet. private: this machine or its networks. never: link-local, metadata, multicast … */
export type AddressClass = "public" | "private" | "never";

export type Address = { readonly family: 4 | 6; readonly value: bigint };
export type AddressRange = Address & { readonly bits: number };

// Ranges of the IANA special-purpose registries (RFC 6890 and its successors).
const privateRanges = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "::1/128",
  "fc00::/7",
].map(knownRange);
const neverRanges = [
  "0.0.0.0/8",
  "169.254.0.0/16",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  // Metadata services that live outside link-local: Alibaba's and Oracle's.
  "100.100.100.200/32",
  "192.0.0.192/32",
  // AWS's metadata service in fd00::/8, documentation, Teredo, ORCHID, 6to4: nothing to ask there.
  "fd00:ec2::/32",
  "2001:db8::/32",
  "2001::/23",
  "2002::/16",
].map(knownRange);
const publicRanges = ["0.0.0.0/0", "2000::/3"].map(knownRange);
// Addresses that stand for an IPv4 address: mapped, and NAT64. They are what the IPv4 address is.
const embeddings = ["::ffff:0:0/96", "64:ff9b::/96"].map(knownRange);

/** Classifies an IP address in text form. Whatever is not known to be public or private is `never`. */
export function classifyAddress(text: string): AddressClass {
  const address = parseAddress(text);
  if (address === null || isWithin(address, neverRanges)) return "never";
  if (isWithin(address, privateRanges)) return "private";
  return isWithin(address, publicRanges) ? "public" : "never";
}

/** An address that stands for an IPv4 address is in the ranges of that. */
export function isWithin(address: Address, ranges: readonly AddressRange[]): boolean {
  const plain = unwrap(address);
  return ranges.some((range) => contains(range, plain));
}

function unwrap(address: Address): Address {
  return embeddings.some((range) => contains(range, address))
    ? { family: 4, value: address.value & 0xffff_ffffn }
    : address;
}

export function contains(range: AddressRange, { family, value }: Address): boolean {
  const rest = BigInt((family === 4 ? 32 : 128) - range.bits);
  return family === range.family && value >> rest === range.value >> rest;
}

/** An address or `address/bits`; null for anything else. */
export function parseRange(text: string): AddressRange | null {
  const [start = "", bits, ...rest] = text.split("/");
  const address = parseAddress(start);
  if (address === null || rest.length > 0) return null;
  const most = address.family === 4 ? 32 : 128;
  if (bits === undefined) return { ...address, bits: most };
  return /^\d{1,3}$/.test(bits) && Number(bits) <= most ? { ...address, bits: Number(bits) } : null;
}

function knownRange(text: string): AddressRange {
  const range = parseRange(text);
  if (range === null) throw new Error(`${text} is no range of addresses`);
  return range;
}

/** IPv4 in four decimal numbers, IPv6 without a zone; null for anything else. */
export function parseAddress(text: string): Address | null {
  const v4 = parseV4(text);
  if (v4 !== null) return { family: 4, value: v4 };
  const v6 = parseV6(text);
  return v6 === null ? null : { family: 6, value: v6 };
}

function parseV4(text: string): bigint | null {
  if (!/^(?:(?:0|[1-9]\d{0,2})(?:\.(?!$)|$)){4}$/.test(text)) return null;
  const numbers = text.split(".").map(Number);
  if (numbers.some((number) => number > 255)) return null;
  return numbers.reduce((sum, number) => (sum << 8n) | BigInt(number), 0n);
}

function parseV6(text: string): bigint | null {
  const [left = "", right, ...rest] = text.split("::");
  if (rest.length > 0 || !text.includes(":")) return null;
  const head = groupsOf(left);
  const tail = right === undefined ? [] : groupsOf(right);
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array.from({ length: missing }, () => 0n), ...tail];
  return groups.reduce((sum, group) => (sum << 16n) | group, 0n);
}

/** The groups of 16 bits on one side of the double colon; an IPv4 address at the end is two of them. */
function groupsOf(side: string): bigint[] | null {
  if (side === "") return [];
  const parts = side.split(":");
  const groups: bigint[] = [];
  for (const [at, part] of parts.entries()) {
    const v4 = at === parts.length - 1 && part.includes(".") ? parseV4(part) : null;
    if (v4 !== null) groups.push(v4 >> 16n, v4 & 0xffffn);
    else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(BigInt(`0x${part}`));
    else return null;
  }
  return groups.length <= 8 ? groups : null;
}
