/** The address of the public port: choosing it, naming it, and saying why it cannot be had. */
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import * as net from "node:net";
import { createServer } from "node:net";

/**
 * The port to listen on, known to be free now: `port` itself, or for 0 one that the system chooses.
 * @throws the system's error when it cannot be listened on, which explainListenError puts into words
 */
export async function choosePort(host: string, port: number): Promise<number> {
  const server = createServer();
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("the system gave no port");
  return address.port;
}

export type HeldPort = { readonly fd: number; close(): void };

/**
 * Binds the port without reading from it: whoever is given the descriptor listens there, and when that process ends, its
 * clients wait here for the next one. Null on a Node before 24.19, which cannot; then each process opens the port itself.
 */
export async function holdPort(host: string, port: number): Promise<HeldPort | null> {
  if (!("BoundSocket" in net)) return null;
  const { address } = await lookup(host);
  const socket = new net.BoundSocket({ host: address, port });
  return { fd: socket.fd(), close: () => socket.close() };
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
  if ((syscall !== "listen" && syscall !== "bind") || advice === undefined) return null;
  return `BERTH_PORT ${port ?? ""} on ${address ?? "this address"} cannot be listened on: ${advice}. Set another BERTH_PORT or BERTH_HOST.`;
}
