/**
 * Posts one answer to one URL of a client's choice. Owns the guard at the moment of connecting: the name is looked up,
 * what is found is checked, and the connection goes to what was checked; nothing is redirected. Must not try again, nor
 * keep what the other side says.
 */
import { createHmac } from "node:crypto";
import { type LookupAddress, type LookupOptions, lookup as systemLookup } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { isTargetAddress, type WebhookTargets } from "../core/webhook.ts";

/** Longest time of one try, in milliseconds. */
const postMs = 10_000;

export type Post = {
  readonly url: URL;
  readonly body: Buffer;
  /** Value of X-Berth-Signature. */
  readonly signature: string;
  readonly requestId: string;
};

/**
 * `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over the time, a dot and the body. The key is the SHA-256, in hexadecimal, of
 * the token that made the request, so that whoever has the token, or its hash alone, can check it.
 */
export function signBody(body: Buffer, tokenHash: string, nowMs: number): string {
  const seconds = Math.floor(nowMs / 1000);
  const mac = createHmac("sha256", tokenHash).update(`${seconds}.`).update(body).digest("hex");
  return `t=${seconds},v1=${mac}`;
}

/** The status of the answer. Rejects when there is none, with the signal's reason when aborted. */
export function post(
  { url, body, signature, requestId }: Post,
  targets: WebhookTargets,
  signal: AbortSignal,
) {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const request = send(url, {
    method: "POST",
    agent: false,
    lookup: guardedLookup(targets),
    signal: AbortSignal.any([signal, AbortSignal.timeout(postMs)]),
    headers: {
      "content-type": "application/json",
      "content-length": body.length,
      "user-agent": "Berth",
      "x-berth-signature": signature,
      "x-request-id": requestId,
    },
  });
  request.on("error", reject);
  request.on("response", (response) => {
    resolve(response.statusCode ?? 0);
    // Nobody reads the answer; the connection has done its work.
    response.on("error", () => undefined).destroy();
  });
  request.end(body);
  return promise;
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

function guardedLookup(targets: WebhookTargets) {
  return (hostname: string, options: LookupOptions, callback: LookupCallback): void => {
    systemLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isTargetAddress(address, targets));
      const first = allowed[0];
      if (first === undefined) return callback(new Error("the name leads to no address that is allowed"), []);
      if (options.all === true) return callback(null, allowed);
      return callback(null, first.address, first.family);
    });
  };
}
