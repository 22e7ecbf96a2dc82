/**
 * The server of the public port: accepts connections, plain or TLS, and looks in one sweep for those that have waited too
 * long. Owns the port and all connections; must not know what a request asks for.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { AwakeClock } from "../awake-clock.ts";
import type { TurnEnd } from "../turn-end.ts";
import { Connection, type ConnectionHost, type ConnectionLimits } from "./connection.ts";
import { ConnectionRoom } from "./connection-room.ts";
import type { HttpRequest } from "./request.ts";
import type { HttpResponse } from "./response.ts";

export type HttpServerOptions = {
  /** PEM text; null for plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly limits: ConnectionLimits & {
    /** Connections at once; those above are told 503. */
    readonly connectionsMax: number;
  };
  readonly turnEnd: TurnEnd;
  /** Milliseconds since the epoch. */
  now(): number;
  onRequest(request: HttpRequest, response: HttpResponse): void;
  /**
   * Where others listen at the same port: it has as many connections as it may, and rests, or room for more again. Either
   * way `listenAgain` is to follow as soon as it shall accept.
   */
  readonly onRoom?: ((hasRoom: boolean) => void) | undefined;
};

/** Where to listen: an address, or a socket that is bound already. */
export type ListenAt = { readonly port: number; readonly host: string } | { readonly fd: number } | Socket;

/** Longest time between two sweeps. */
const maxSweepMs = 5000;
const handshakeMs = 10_000;
/** Connections above the limit that are told so at once; further ones are closed as they come. */
const refusedMax = 32;

export class HttpServer implements ConnectionHost {
  readonly limits: ConnectionLimits;
  readonly keptLines: string;
  readonly turnEnd: TurnEnd;
  sweeps = 0;
  isClosing = false;
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #sweepMs: number;
  readonly #clock: AwakeClock;
  readonly #connections = new Set<Connection>();
  readonly #room: ConnectionRoom;
  #backlog = 0;
  #isOver = false;
  /** Connections that have not got through their TLS handshake are here only; where there is none, nothing is. */
  readonly #sockets = new Set<Socket>();
  #sweeper: NodeJS.Timeout | null = null;
  #dateSecond = 0;
  #dateLine = "";

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.limits = options.limits;
    this.turnEnd = options.turnEnd;
    this.keptLines = `connection: keep-alive\r\nkeep-alive: timeout=${Math.floor(options.limits.idleMs / 1000)}\r\n`;
    this.#sweepMs = Math.min(maxSweepMs, options.limits.headMs);
    this.#clock = new AwakeClock(() => performance.now(), this.#sweepMs);
    const { connectionsMax } = options.limits;
    this.#room = new ConnectionRoom(connectionsMax, (hasRoom) => this.#tellRoom(hasRoom));
    this.#server = this.#createServer();
    this.#server.maxConnections = connectionsMax + refusedMax;
  }

  async listen(at: ListenAt, backlog: number): Promise<AddressInfo> {
    const server = this.#server;
    this.#backlog = backlog;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(at, backlog, () => {
        server.off("error", reject);
        resolve();
      });
    });
    this.#sweeper = setInterval(() => this.#sweep(), this.#sweepMs).unref();
    return server.address() as AddressInfo;
  }

  /** Accepts no more for now. What waits for that is left to others that listen at the same port. */
  rest(): void {
    this.#server.close();
  }

  /** Accepts again, after `rest`. @param port the same port, which was closed */
  listenAgain(port: Socket): void {
    if (this.#isOver) port.destroy();
    else this.#server.listen(port, this.#backlog);
  }

  /** Accepts no more. Resolves when the last connection has gone. */
  async close(): Promise<void> {
    this.#isOver = true;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
  }

  /** Closes connections that wait for a request, and from now on every other one with its answer. */
  closeIdle(): void {
    this.isClosing = true;
    for (const connection of this.#connections) connection.closeIfIdle();
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  // What connections need of it.

  sweepsFor(ms: number): number {
    // The first sweep may come at any moment.
    return Math.ceil(ms / this.#sweepMs) + 1;
  }

  get sleeps(): number {
    return this.#clock.sleeps();
  }

  get dateLine(): string {
    const second = Math.floor(this.#options.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#dateLine = `date: ${new Date(second * 1000).toUTCString()}\r\n`;
    }
    return this.#dateLine;
  }

  onRequest(request: HttpRequest, response: HttpResponse): void {
    this.#options.onRequest(request, response);
  }

  onGone(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#options.tls === null) this.#room.leave();
  }

  /** Who comes now is left to others without being told of it. Where there are none, this is undone at once. */
  #tellRoom(hasRoom: boolean): void {
    const { onRoom } = this.#options;
    if (onRoom === undefined) return;
    if (!hasRoom) this.rest();
    onRoom(hasRoom);
  }

  #createServer(): Server {
    const { tls } = this.#options;
    const accept = (socket: Socket) => {
      const connection = new Connection(socket, this);
      this.#connections.add(connection);
      if (tls === null) this.#room.enter();
      if (this.#room.isExceeded) connection.turnAway();
    };
    if (tls === null) return createServer({ noDelay: true, allowHalfOpen: true }, accept);
    const server = createTlsServer(
      {
        ...tls,
        minVersion: "TLSv1.2",
        handshakeTimeout: handshakeMs,
        ALPNProtocols: ["http/1.1"],
        ...{ noDelay: true, allowHalfOpen: true },
      },
      accept,
    );
    return server.on("connection", (socket) => {
      this.#sockets.add(socket);
      this.#room.enter();
      socket.once("close", () => {
        this.#sockets.delete(socket);
        this.#room.leave();
      });
    });
  }

  /** However long this process has stood still, that was no more than one sweep. */
  #sweep(): void {
    this.sweeps += 1;
    this.#clock.now();
    // What has come is read before: a timer may go off while it still waits in the kernel.
    setImmediate(() => {
      for (const connection of this.#connections) connection.sweep();
    });
  }
}
