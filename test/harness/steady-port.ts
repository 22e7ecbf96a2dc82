/**
 * A port for a Berth that is ended and started again on it: one that the system gives to no outgoing connection, since
 * somebody's would keep the second Berth from listening.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const lowest = 10_000;
const tries = 100;

/** A port of 127.0.0.1 that nobody listens on now. */
export async function findSteadyPort(): Promise<number> {
  for (let left = tries; left > 0; left -= 1) {
    const port = randomInt(lowest, firstOutgoing());
    if (await isFree(port)) return port;
  }
  throw new Error(`none of ${tries} ports was free`);
}

function firstOutgoing(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s/)[0]);
  } catch {
    return 32_768; // no Linux: macOS and Windows begin at 49152
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false; // somebody has it
  }
  server.close();
  await once(server, "close");
  return true;
}
