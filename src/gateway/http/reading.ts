/** Reads whole connections for the tests of this room, with the reader and with node:http. Only tests import it. */
import { createServer, type IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { Refusal } from "./refusal.ts";
import { RequestReader } from "./request-reader.ts";

export type ReadRequest = {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly rawHeaders: readonly string[];
  readonly headers: Record<string, unknown>;
  body: string;
  isWhole: boolean;
};

export type Reading = {
  readonly requests: ReadRequest[];
  /** Status of the refusal. */
  readonly refused: number | null;
  /** The bytes end with a request, and it is not the last one of its connection. */
  readonly isEven: boolean;
};

/** @param pieces as they arrive, one character a byte */
export function readPieces(pieces: readonly string[]): Reading {
  const requests: ReadRequest[] = [];
  let isLast = false;
  const reader = new RequestReader({
    onHead({ method, target, isOldVersion, lines, headers, keepsAlive }) {
      isLast = !keepsAlive;
      const version = isOldVersion ? "1.0" : "1.1";
      requests.push({
        ...{ method, target, version, headers: { ...headers } },
        rawHeaders: lines.flatMap(({ name, value: text }) => [name, text]),
        ...{ body: "", isWhole: false },
      });
    },
    onPiece(piece) {
      const last = requests.at(-1);
      if (last !== undefined) last.body += piece.toString("latin1");
    },
    onEnd() {
      const last = requests.at(-1);
      if (last !== undefined) last.isWhole = true;
    },
  });
  try {
    for (const piece of pieces) {
      const bytes = Buffer.from(piece, "latin1");
      const isOver = () => isLast && !reader.isWithin;
      for (let at = 0; at < bytes.length && !isOver(); ) at = reader.read(bytes, at);
    }
    return { requests, refused: null, isEven: !reader.isWithin && !isLast };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { requests, refused: error.status, isEven: false };
  }
}

/** What node:http makes of the same bytes; `isRefused` where it gave up on some of them. */
export async function readWithNode(
  text: string,
): Promise<{ readonly requests: ReadRequest[]; readonly isRefused: boolean }> {
  const requests: ReadRequest[] = [];
  let isRefused = false;
  const take = (request: IncomingMessage) => {
    const { method = "", url: target = "", httpVersion: version, rawHeaders, headers } = request;
    const read: ReadRequest = {
      ...{ method, target, version, rawHeaders, headers: { ...headers }, body: "", isWhole: false },
    };
    requests.push(read);
    request.on("data", (piece: Buffer) => {
      read.body += piece.toString("latin1");
    });
    request.on("end", () => {
      read.isWhole = request.complete;
    });
    request.on("error", () => undefined); // cut within its body: "isWhole" says so
  };
  // Its own refusals that are no parser's: a missing host, an expectation. They are tested by themselves.
  const server = createServer({ requireHostHeader: false, maxHeaderSize: 65_536 });
  server.maxHeadersCount = 0;
  server.on("request", take).on("checkContinue", take).on("checkExpectation", take);
  server.on("clientError", () => {
    isRefused = true;
  });
  const socket = new Duplex({ read: () => undefined, write: (_bytes, _encoding, done) => done() });
  server.emit("connection", socket);
  socket.push(Buffer.from(text, "latin1"));
  // The parser works as the bytes are read; what it emits follows within these turns.
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  return { requests, isRefused };
}
