/**
 * Where the answer to a request may be posted, and when it is tried again. Decides over values alone: names that an
 * administrator allows, addresses after they were looked up, answers and the times between tries. Pure.
 */
import { type AddressRange, classifyAddress, isWithin, parseAddress, parseRange } from "./outbound.ts";

export type WebhookTargets = {
  /** Host names in lower case; one that begins with "." stands for all names below it. */
  readonly hosts: ReadonlySet<string>;
  /** Addresses that may be named by number, and that names may lead to although they are private. */
  readonly ranges: readonly AddressRange[];
  /** Any host with a public address. */
  readonly isAnyPublic: boolean;
};

/** A name with a letter in it; the dot of `*.` stays with it. */
const hostName = /^(?:\*(\.))?((?=.*[a-z])[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)$/i;

/** @param list host names, `*.name`, addresses, CIDR ranges, or `*`; null when an entry is none of these */
export function readTargets(list: readonly string[]): WebhookTargets | null {
  const hosts = new Set<string>();
  const ranges: AddressRange[] = [];
  let isAnyPublic = false;
  for (const entry of list) {
    const range = parseRange(entry.replace(/^\[|\]$/g, ""));
    const [, wildcard = "", name = ""] = hostName.exec(entry) ?? [];
    if (entry === "*") isAnyPublic = true;
    else if (range !== null) ranges.push(range);
    else if (name !== "" && !name.includes("..")) hosts.add(`${wildcard}${name}`.toLowerCase());
    else return null;
  }
  return { hosts, ranges, isAnyPublic };
}

/** What a URL says, as a URL parser reads it. */
export type WebhookUrl = {
  readonly protocol: string;
  readonly hostname: string;
  readonly username: string;
  readonly password: string;
};

/** Why nothing is posted to this URL, completing "The webhook …"; null when it may be. Names are looked up later. */
export function refuseTarget(url: WebhookUrl, targets: WebhookTargets): string | null {
  if (url.protocol !== "https:" && url.protocol !== "http:") return "is neither https: nor http:";
  if (url.username !== "" || url.password !== "") return "carries a user name";
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const address = parseAddress(host);
  if (address !== null) {
    const isAllowed =
      isWithin(address, targets.ranges) || (targets.isAnyPublic && classifyAddress(host) === "public");
    return isAllowed && classifyAddress(host) !== "never"
      ? null
      : "is at an address that is not allowed here";
  }
  return targets.isAnyPublic || isNamed(host.replace(/\.$/, ""), targets.hosts)
    ? null
    : "is at a host that is not allowed here";
}

function isNamed(host: string, hosts: ReadonlySet<string>): boolean {
  if (hosts.has(host)) return true;
  for (let at = host.indexOf("."); at !== -1; at = host.indexOf(".", at + 1)) {
    if (hosts.has(host.slice(at))) return true;
  }
  return false;
}

/** Whether a connection may go to this address that a name was looked up to. */
export function isTargetAddress(text: string, { ranges }: WebhookTargets): boolean {
  const kind = classifyAddress(text);
  if (kind !== "private") return kind === "public";
  const address = parseAddress(text);
  return address !== null && isWithin(address, ranges);
}

/** Tries of one answer in all. */
export const maxDeliveryTries = 5;
const firstPauseMs = 1000;

/** Milliseconds until the next try, null when there is none: below 400 the other side has understood, and says where it is. */
export function pauseBeforeRetry(tries: number, status: number | null): number | null {
  if (status !== null && status < 400) return null;
  return tries >= maxDeliveryTries ? null : firstPauseMs * 4 ** (tries - 1);
}
