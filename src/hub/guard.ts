/**
 * The outbound guard of the hub: says which addresses a redirect may lead to, and gives connections a name look-up that
 * hands out checked addresses only, so that what was checked is what is connected to. The ranges are core/outbound's; knows
 * nothing of repositories. The configured endpoint itself is not its business: an administrator chose that.
 */
import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup as systemLookup } from "node:dns";
import { isIP } from "node:net";
import { classifyAddress } from "../core/outbound.ts";

/** A host that a redirect may not lead to; `why` completes "which …". */
export class RefusedAddressError extends Error {
  readonly why: string;

  constructor(why: string) {
    super(`refused: ${why}`);
    this.name = "RefusedAddressError";
    this.why = why;
  }
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
