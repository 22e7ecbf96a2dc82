/**
 * Why bytes on the public port are no request that Berth serves. Owns the sentence a person reads; what is sent for it is
 * the connection's. After one the connection is closed: where its next request would begin can no longer be trusted.
 */

export type RefusalStatus = 400 | 408 | 413 | 417 | 431 | 501 | 503 | 505;

export class Refusal extends Error {
  readonly status: RefusalStatus;

  constructor(status: RefusalStatus, message: string) {
    super(message);
    this.name = "Refusal";
    this.status = status;
  }
}

export function malformed(what: string): Refusal {
  return new Refusal(400, `The request is not valid HTTP/1.1: ${what}.`);
}
