/**
 * The outbound guard of the hub: says which addresses a redirect may lead to, and gives connections a name look-up that
 * hands out checked addresses only, so that what was checked is what is connected to. Owns the address ranges; knows
 * nothing of repositories. The configured endpoint itself is not its business: an administrator chose that.
 */
import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup as systemLookup } from "node:dns";
import { BlockList, isIP } from "node:net";

/** public: anywhere on the internet. private: this machine or its networks. never: link-local, metadata, multicast … */
export type AddressClass = "public" | "private" | "never";

/** A host that a redirect may not lead to; `why` completes "which …". */
export class RefusedAddressError extends Error {
  readonly why: string;

  constructor(why: string) {
    super(`refused: ${why}`);
    this.name = "RefusedAddressError";
    this.why = why;
  }
}

// Ranges of the IANA special-purpose registries (RFC 6890 and its successors).
const privateRanges4 = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
const neverRanges4 = [
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
];
const privateRanges6 = ["::1/128", "fc00::/7"];
// AWS's metadata service in fd00::/8, documentation, Teredo, ORCHID, 6to4: nothing to download from.
const neverRanges6 = ["fd00:ec2::/32", "2001:db8::/32", "2001::/23", "2002::/16"];
const publicRanges6 = ["2000::/3"];
// Addresses that stand for an IPv4 address: mapped, and NAT64. They are what the IPv4 address is.
const embeddings = ["::ffff:", "64:ff9b::"];

const neverList = blockList(neverRanges4, neverRanges6);
const privateList = blockList(privateRanges4, privateRanges6);
const publicList6 = blockList(["0.0.0.0/0"], publicRanges6);

/** Classifies an IP address in text form. Whatever is not known to be public or private is `never`. */
export function classifyAddress(address: string): AddressClass {
  const family = isIP(address);
  if (family === 0 || address.includes("%")) return "never";
  const kind = family === 4 ? "ipv4" : "ipv6";
  if (neverList.check(address, kind)) return "never";
  if (privateList.check(address, kind)) return "private";
  return publicList6.check(address, kind) ? "public" : "never";
}

/** Throws RefusedAddressError when the URL by itself may not be asked; names are looked at again after DNS. */
export function checkUrl(url: URL, allowPrivate: boolean): void {
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new RefusedAddressError("is neither http nor https");
  }
  if (url.username !== "" || url.password !== "") throw new RefusedAddressError("carries a user name");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) checkAddress(host, allowPrivate);
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;
type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * A `lookup` for sockets that fails with RefusedAddressError when a name has no address that is allowed, and otherwise
 * answers with the allowed ones.
 */
export function guardedLookup(allowPrivate: boolean, resolve: Resolve = systemLookup) {
  return (hostname: string, options: LookupOptions, callback: LookupCallback): void => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isAllowed(address, allowPrivate));
      const first = allowed[0];
      if (first === undefined) return callback(new RefusedAddressError(describe(allowPrivate)), []);
      if (options.all === true) return callback(null, allowed);
      return callback(null, first.address, first.family);
    });
  };
}

function checkAddress(address: string, allowPrivate: boolean): void {
  if (!isAllowed(address, allowPrivate)) throw new RefusedAddressError(describe(allowPrivate));
}

function isAllowed(address: string, allowPrivate: boolean): boolean {
  const kind = classifyAddress(address);
  return kind === "public" || (kind === "private" && allowPrivate);
}

function describe(allowPrivate: boolean): string {
  return allowPrivate
    ? "is a link-local, multicast or reserved address"
    : "is not an address on the public internet";
}

function blockList(ranges4: readonly string[], ranges6: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges4) {
    const [network = "", bits = ""] = range.split("/");
    list.addSubnet(network, Number(bits), "ipv4");
    for (const prefix of embeddings) list.addSubnet(`${prefix}${network}`, 96 + Number(bits), "ipv6");
  }
  for (const range of ranges6) {
    const [network = "", bits = ""] = range.split("/");
    list.addSubnet(network, Number(bits), "ipv6");
  }
  return list;
}
