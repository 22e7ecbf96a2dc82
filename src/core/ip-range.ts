/**
 * IP addresses and CIDR ranges, as API tokens are limited to. Pure. An IPv4 address in IPv6 clothes (`::ffff:1.2.3.4`)
 * is that IPv4 address: which of the two a socket says depends on how it listens.
 */

export type IpRange = {
  readonly bits: 32 | 128;
  /** The address as one number. */
  readonly start: bigint;
  /** Leading bits that must be equal. */
  readonly prefix: number;
};

/** For sentences that refuse a range. */
export const ipRangeRule = "an IPv4 or IPv6 address, or a CIDR range such as 10.0.0.0/8 or 2001:db8::/32";

/** Null for what is neither an address nor a CIDR range. Bits after the prefix are ignored, as usual. */
export function parseIpRange(text: string): IpRange | null {
  const [address = "", prefixText, ...rest] = text.split("/");
  const parsed = parseAddress(address);
  if (parsed === null || rest.length > 0) return null;
  if (prefixText === undefined) return { ...parsed, prefix: parsed.bits };
  if (!/^\d{1,3}$/.test(prefixText)) return null;
  // A prefix of an address in IPv6 clothes counts the clothes too.
  const given = Number(prefixText) - (parsed.wasMapped ? 96 : 0);
  return given >= 0 && given <= parsed.bits ? { ...parsed, prefix: given } : null;
}

/** False for an address that cannot be read. */
export function isInRanges(address: string, ranges: readonly IpRange[]): boolean {
  const own = parseAddress(address);
  if (own === null) return false;
  return ranges.some(({ bits, start, prefix }) => {
    const shift = BigInt(bits - prefix);
    return bits === own.bits && start >> shift === own.start >> shift;
  });
}

type Address = Pick<IpRange, "bits" | "start"> & { readonly wasMapped: boolean };

function parseAddress(text: string): Address | null {
  const v4 = parseV4(text);
  if (v4 !== null) return { bits: 32, start: v4, wasMapped: false };
  const v6 = parseV6(text);
  if (v6 === null) return null;
  const isMapped = v6 >> 32n === 0xffffn;
  return isMapped
    ? { bits: 32, start: v6 & 0xffff_ffffn, wasMapped: true }
    : { bits: 128, start: v6, wasMapped: false };
}

function parseV4(text: string): bigint | null {
  // Without leading zeros: some read them as octal.
  if (!/^(?:(?:0|[1-9]\d{0,2})(?:\.(?!$)|$)){4}$/.test(text)) return null;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part <= 255)
    ? parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)
    : null;
}

function parseV6(text: string): bigint | null {
  if (!text.includes(":") || text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head = null, tail = null] = halves.map(parseGroups);
  if (head === null) return null;
  if (halves.length === 1) return head.length === 8 ? join(head) : null;
  if (tail === null || head.length + tail.length > 7) return null;
  return join([...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]);
}

/** 16-bit groups between colons; the last may be an IPv4 address, which is two. */
function parseGroups(text: string): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [at, part] of parts.entries()) {
    const v4 = at === parts.length - 1 ? parseV4(part) : null;
    if (v4 !== null) groups.push(Number(v4 >> 16n), Number(v4 & 0xffffn));
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

function join(groups: readonly number[]): bigint {
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
}
