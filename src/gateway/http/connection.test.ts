/** What a connection promises whoever writes to it, on a socket whose client takes bytes when it is told to. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { TurnEnd } from "../turn-end.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import type { HttpResponse } from "./response.ts";

/** A socket as far as a connection uses it; `release` lets the client take what was written. */
class HeldSocket extends Duplex {
  readonly remoteAddress = "127.0.0.1";
  #taken: (() => void)[] = [];

  constructor() {
    super({ decodeStrings: false, writableHighWaterMark: 65_536 });
  }

  setTimeout(): void {
    // The client is slow for as long as the test wants it.
  }

  release(): void {
    for (const done of this.#taken.splice(0)) done();
  }

  override _read(): void {
    // The test pushes.
  }

  override _write(_bytes: unknown, _encoding: unknown, done: () => void): void {
    this.#taken.push(done);
  }
}

function openConnection(): { socket: HeldSocket; response: Promise<HttpResponse> } {
  const { promise: response, resolve } = Promise.withResolvers<HttpResponse>();
  const host: ConnectionHost = {
    ...{ sweeps: 0, sleeps: 0, isClosing: false, dateLine: "", keptLines: "", turnEnd: new TurnEnd() },
    limits: { idleMs: 1, headMs: 1, uploadMs: 1, silenceMs: 1 },
    sweepsFor: () => 1,
    onRequest: (_request, opened) => resolve(opened),
    onGone: () => undefined,
  };
  const socket = new HeldSocket();
  new Connection(socket as unknown as Socket, host);
  return { socket, response };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("whoever is told to wait is told to go on, however writes, turns and the client's taking fall", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), bytes: fc.integer({ min: 1, max: 40_000 }) }),
    fc.record({ kind: fc.constant("turn" as const) }),
    fc.record({ kind: fc.constant("take" as const) }),
  );
  let waits = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { socket, response: opening } = openConnection();
      socket.push("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      const response = await opening;
      let isTold = false;
      response.onDrain = () => {
        isTold = false;
      };
      response.begin(200, [], null);
      for (const next of steps) {
        if (next.kind === "turn") await turn();
        else if (next.kind === "take") socket.release();
        else if (!isTold) isTold = !response.write(Buffer.alloc(next.bytes));
        if (isTold) waits += 1;
      }
      // In the end the client takes all of it.
      for (let turns = 0; turns < 40; turns += 1) {
        socket.release();
        await turn();
      }
      expect(isTold).toBe(false);
      socket.destroy();
    }),
    { numRuns: 200 },
  );
  expect(waits).toBeGreaterThan(0);
});
