/**
 * Which URLs of media an engine may be given to fetch. An engine fetches from inside the network it runs in, so neither
 * files nor addresses of that network are among them. Pure: names are not looked up here, and what a public name leads to
 * is for the network that the engine runs in to bound.
 */
import { classifyAddress, parseAddress } from "../../core/outbound.ts";
import { HttpError } from "../../schema/errors.ts";

/** Names that only an inner network knows. */
const innerName = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|home\.arpa|svc|cluster)\.?$/i;

/** Throws HttpError for a URL that an engine must not fetch. */
export function refuseMediaUrl(value: unknown): void {
  const why = typeof value === "string" ? faultOf(value) : "is no text";
  if (why === null) return;
  throw new HttpError(
    "bad_request",
    `A URL in messages ${why}. Use a data: URL, or an https: URL of a public host.`,
    {
      param: "messages",
    },
  );
}

function faultOf(text: string): string | null {
  if (/^data:[a-z0-9.+-]+\/[a-z0-9.+-]+[;,]/i.test(text)) return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null) return "is not a URL";
  if (url.protocol !== "http:" && url.protocol !== "https:") return "is neither a data: nor an https: URL";
  if (url.username !== "" || url.password !== "") return "carries a password";
  return isInside(url.hostname) ? "leads to a private address" : null;
}

/** @param host as the URL parser writes it: IPv4 in any notation as four numbers, IPv6 in brackets */
function isInside(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  if (parseAddress(bare) !== null) return classifyAddress(bare) !== "public";
  return !bare.includes(".") || innerName.test(bare);
}
