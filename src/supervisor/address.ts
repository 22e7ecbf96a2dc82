/** The address of the public port: taking it, naming it, and saying why it cannot be had. */
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import * as net from "node:net";

/** A port that is bound but not listened on by whoever holds it. */
export type HeldPort = {
  readonly port: number;
  /** For processes that listen on it. Connections wait, none is refused, while one of them ends and another begins. */
  readonly fd: number;
  /** From now on the port is open only as long as a process listens. */
  release(): void;
};

/** How long a port that is taken is waited for. */
export type Patience = { readonly ms: number; sleep(ms: number): Promise<void> };

const pollMs = 100;

/**
 * Takes the port: `port` itself, or for 0 one that the system chooses.
 * @param patience where whoever has it may be about to go; null says at once that it is taken
 * @throws the system's error when it cannot be listened on, which explainListenError puts into words
 */
export async function holdPort(
  host: string,
  port: number,
  patience: Patience | null = null,
): Promise<HeldPort> {
  const chosen = await waitForPort(host, port, patience);
  const { address } = await lookup(host);
  // Bound and not listened on: a server of node:net would accept connections here.
  const bound = new net.BoundSocket({ host: address, port: chosen });
  return { port: chosen, fd: bound.fd(), release: () => bound.close() };
}

async function waitForPort(host: string, port: number, patience: Patience | null): Promise<number> {
  for (let leftMs = patience?.ms ?? 0; ; leftMs -= pollMs) {
    try {
      return await tryPort(host, port);
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      if (patience === null || !isTaken || leftMs <= 0) throw error;
    }
    await patience.sleep(pollMs);
  }
}

/** Listens for a moment: what would be wrong is said by the system, with all its words. */
async function tryPort(host: string, port: number): Promise<number> {
  const server = net.createServer();
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("the system gave no port");
  return address.port;
}

/** Where this machine reaches what listens on `host`. */
export function reachableHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

/** Whether only this machine can reach what listens on `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}

const listenAdvice: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program uses it",
  EACCES: "this user may not use it",
  EADDRNOTAVAIL: "this machine does not have that address",
};

/** One sentence for an error of listening; null for any other error. A name that is unknown counts among them. */
export function explainListenError(error: unknown): string | null {
  const {
    code = "",
    syscall,
    port,
    address,
    hostname = "",
  } = error as NodeJS.ErrnoException & { port?: number; address?: string; hostname?: string };
  const advice = listenAdvice[code];
  if (syscall === "getaddrinfo") {
    return `BERTH_HOST is ${hostname}, which is not the name or address of this machine (${code}). Set another BERTH_HOST.`;
  }
  if (syscall !== "listen" || advice === undefined) return null;
  return `BERTH_PORT ${port ?? ""} on ${address ?? "this address"} cannot be listened on: ${advice}. Set another BERTH_PORT or BERTH_HOST.`;
}
