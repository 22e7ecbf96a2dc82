/**
 * A stand-in for a Hugging Face endpoint: serves a folder tree in the hub's protocol, with its redirects to signed
 * storage addresses, private and gated repositories, and faults to order. A program (`node tools/fake-hub/server.ts
 * --root DIR`) and a function for tests. See README.md for the folder's form. Not a mirror: it keeps no history.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import type { Certificate } from "./certificate.ts";
import type { Fault } from "./faults.ts";
import { HubRoutes } from "./routes.ts";

export type FakeHubOptions = {
  readonly root: string;
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port?: number;
  /** Serve large files from a second port, as the real hub does from another host. */
  readonly separateStorage?: boolean;
  /** Files per page of a listing. */
  readonly pageSize?: number;
  /** How long a signed storage address is good, milliseconds. */
  readonly signatureMs?: number;
  readonly faults?: readonly Fault[];
  /** Speak TLS with it, from both ports. */
  readonly certificate?: Certificate;
};

export type SeenRequest = {
  readonly method: string;
  /** Decoded path and query. */
  readonly url: string;
  readonly range: string | null;
  readonly authorization: string | null;
  /** "hub" or "storage": which of the two ports was asked. */
  readonly at: "hub" | "storage";
};

export type FakeHub = {
  readonly url: string;
  /** Origin of the storage; the same as `url` unless it is separate. */
  readonly storageUrl: string;
  /** Every request so far, oldest first. */
  readonly requests: readonly SeenRequest[];
  /** Bytes of bodies from storage that were sent, or tried to. */
  sentBytes(): number;
  setFaults(faults: readonly Fault[]): void;
  close(): Promise<void>;
};

export async function startFakeHub(options: FakeHubOptions): Promise<FakeHub> {
  const host = options.host ?? "127.0.0.1";
  const routes = new HubRoutes(options);
  const { certificate } = options;
  const hub = await listen(host, options.port ?? 0, certificate, (...exchange) =>
    routes.handle(...exchange, "hub"),
  );
  const storage =
    options.separateStorage === true
      ? await listen(host, 0, certificate, (...exchange) => routes.handle(...exchange, "storage"))
      : hub;
  routes.storageUrl = storage.url;

  return {
    url: hub.url,
    storageUrl: storage.url,
    requests: routes.requests,
    sentBytes: () => routes.sentBytes,
    setFaults: (faults) => routes.setFaults(faults),
    async close() {
      await closeServer(hub.server);
      if (storage !== hub) await closeServer(storage.server);
    },
  };
}

async function listen(
  host: string,
  port: number,
  certificate: Certificate | undefined,
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<{ server: Server; url: string }> {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  };
  const server =
    certificate === undefined ? createServer(answer) : createTlsServer({ ...certificate }, answer);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return {
    server,
    url: `${certificate === undefined ? "http" : "https"}://${host}:${(server.address() as AddressInfo).port}`,
  };
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      root: { type: "string" },
      port: { type: "string", default: "0" },
      host: { type: "string", default: "127.0.0.1" },
      faults: { type: "string" },
      "separate-storage": { type: "boolean", default: false },
    },
  });
  if (values.root === undefined) {
    console.error(
      "usage: node tools/fake-hub/server.ts --root DIR [--port 0] [--host 127.0.0.1] [--faults FILE] [--separate-storage]",
    );
    process.exit(2);
  }
  const fake = await startFakeHub({
    root: values.root,
    port: Number(values.port),
    host: values.host,
    separateStorage: values["separate-storage"],
    faults: values.faults === undefined ? [] : (JSON.parse(await readFile(values.faults, "utf8")) as Fault[]),
  });
  console.log(`fake-hub listening on ${fake.url}`);
}
