/** Names of requests. Owns that no two are alike; an id says nothing of its request. */
import { randomFillSync } from "node:crypto";

const idBytes = 16;
/** Random bytes are asked for by the page: asking costs more than they do. */
const page = Buffer.alloc(256 * idBytes);
let at = page.length;

/** 32 hexadecimal digits, random. */
export function newRequestId(): string {
  if (at === page.length) {
    randomFillSync(page);
    at = 0;
  }
  at += idBytes;
  return page.toString("hex", at - idBytes, at);
}
