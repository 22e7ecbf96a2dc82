/**
 * A body of unknown length on its way to a client, in chunks that are framed here: each goes out in one piece, where
 * node:http would put size, data and line ends together from four. Owns the framing of HTTP/1.1; a client of HTTP/1.0 gets
 * the body as it is, ended by its connection's end. Must not know what the body says.
 */
import type { ServerResponse } from "node:http";

/** Pieces up to this size, in bytes, are written as text, which node:net puts on the wire without memory of its own. */
const maxTextBytes = 16_000;
const lastChunk = "0\r\n\r\n";

export class ChunkedBody {
  readonly #response: ServerResponse;
  #isFramed = false;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  /** Sends the head. @param headers names and values in turn, none of which frames the body */
  begin(status: number, headers: readonly string[]): void {
    const response = this.#response;
    this.#isFramed = response.req.httpVersion === "1.1" && status !== 204 && status !== 304;
    response.writeHead(status, this.#isFramed ? [...headers, "transfer-encoding", "chunked"] : [...headers]);
    // The head says chunked; node:http shall not frame once more.
    if (this.#isFramed) response.chunkedEncoding = false;
  }

  /** False when the client has fallen behind: wait for the response's "drain". */
  write(bytes: Buffer): boolean {
    // An empty chunk would be the end.
    if (bytes.length === 0) return true;
    if (!this.#isFramed) return this.#response.write(bytes);
    return bytes.length > maxTextBytes
      ? this.#response.write(framed(bytes, ""))
      : this.#response.write(framedText(bytes, ""), "latin1");
  }

  /** @param bytes the last ones, may be none */
  end(bytes: Buffer): void {
    if (!this.#isFramed) this.#response.end(bytes);
    else if (bytes.length === 0) this.#response.end(lastChunk, "latin1");
    else if (bytes.length > maxTextBytes) this.#response.end(framed(bytes, lastChunk));
    else this.#response.end(framedText(bytes, lastChunk), "latin1");
  }
}

/** The same as text, one character a byte. */
function framedText(bytes: Buffer, behind: string): string {
  return `${bytes.length.toString(16)}\r\n${bytes.toString("latin1")}\r\n${behind}`;
}

function framed(bytes: Buffer, behind: string): Buffer {
  const size = `${bytes.length.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(size.length + bytes.length + 2 + behind.length);
  chunk.write(size, 0, "latin1");
  chunk.set(bytes, size.length);
  chunk.write(`\r\n${behind}`, size.length + bytes.length, "latin1");
  return chunk;
}
