/**
 * Where a request really came from. Owns the rule that forwarding headers count only when a trusted proxy set them.
 * Pure but for the address list it is given.
 */
import type { IncomingHttpHeaders } from "node:http";
import { BlockList, isIP, isIPv4 } from "node:net";

/** What the next hop is told of the client. */
export type ClientOrigin = {
  readonly address: string;
  readonly proto: "http" | "https";
  readonly host: string;
};

/** True for the address of a proxy whose word counts. */
export type Trust = (address: string) => boolean;

/** @param ranges addresses or CIDR ranges; throws on one that is neither */
export function trustList(ranges: readonly string[]): Trust {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix, ...rest] = range.trim().split("/");
    const version = isIP(address);
    const isPrefix =
      prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 6 ? 128 : 32));
    if (version === 0 || !isPrefix || rest.length > 0)
      throw new Error(`"${range}" is not an address or a CIDR range.`);
    const family = version === 6 ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 6 ? "ipv6" : "ipv4");
  };
}

export function originOf(
  peer: string,
  headers: IncomingHttpHeaders,
  isTls: boolean,
  isTrusted: Trust,
): ClientOrigin {
  const own = {
    address: plainAddress(peer),
    proto: isTls ? ("https" as const) : ("http" as const),
    host: headers.host ?? "",
  };
  if (!isTrusted(own.address)) return own;
  const proto = listOf(headers["x-forwarded-proto"]).at(-1)?.toLowerCase();
  return {
    address: clientOf(own.address, listOf(headers["x-forwarded-for"]), isTrusted),
    proto: proto === "http" || proto === "https" ? proto : own.proto,
    host: listOf(headers["x-forwarded-host"]).at(-1) ?? own.host,
  };
}

/** The right-most address that is not a trusted proxy's; what stands left of it is the client's own claim. */
function clientOf(peer: string, hops: readonly string[], isTrusted: Trust): string {
  let client = peer;
  for (const hop of hops.toReversed()) {
    const address = plainAddress(hop);
    if (isIP(address) === 0) break;
    client = address;
    if (!isTrusted(address)) break;
  }
  return client;
}

/** Without brackets, port, zone and the prefix of an IPv4 address in IPv6 clothes. */
function plainAddress(text: string): string {
  if (isIPv4(text)) return text;
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  return bare.replace(/%.*$/, "").replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}

function listOf(value: string | string[] | undefined): string[] {
  return (Array.isArray(value) ? value.join(",") : (value ?? ""))
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
