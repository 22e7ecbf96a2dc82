/** The hub's own HTTP client, over plain connections and over TLS, against servers that say exactly what is written here. */
import { once } from "node:events";
import { type AddressInfo, createServer as createPlain, type Server, type Socket } from "node:net";
import { createServer as createTls, getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../../tools/fake-hub/certificate.ts";
import { randomContent } from "../../tools/fake-hub/fixture.ts";
import { Wire, type WireOptions, type WireReply } from "./wire.ts";

const certificate = makeCertificate();
const trusted = getCACertificates("default");
beforeAll(() => setDefaultCACertificates([...trusted, certificate.cert]));
afterAll(() => setDefaultCACertificates(trusted));

const never = new AbortController().signal;
const content = randomContent(3_000_000);

type Stand = {
  readonly url: URL;
  readonly wire: Wire;
  /** Heads of the requests so far, and how many connections there were. */
  readonly asked: string[];
  readonly connections: Socket[];
  get(signal?: AbortSignal, headers?: Record<string, string>): Promise<WireReply | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

function openWire(url: URL, more: Partial<WireOptions> = {}): Wire {
  return new Wire({
    ...{ endpointOrigin: url.origin, allowPrivateRedirects: false },
    ...{ connectTimeoutMs: 10_000, headersTimeoutMs: 10_000, idleTimeoutMs: 10_000 },
    ...more,
  });
}

/** @param answer is called at the end of each request's head, with how many there were */
async function startStand(
  scheme: string,
  answer: (socket: Socket, count: number) => void,
  more: Partial<WireOptions> = {},
): Promise<Stand> {
  const asked: string[] = [];
  const connections: Socket[] = [];
  const serve = (socket: Socket) => {
    connections.push(socket);
    socket.on("error", () => undefined);
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        asked.push(text.slice(0, end));
        text = text.slice(end + 4);
        answer(socket, asked.length);
      }
    });
  };
  const server: Server = scheme === "https" ? createTls({ ...certificate }, serve) : createPlain(serve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`${scheme}://localhost:${(server.address() as AddressInfo).port}/a%20file?b=c`);
  const wire = openWire(url, more);
  return {
    ...{ url, wire, asked, connections },
    get: (signal = never, headers = {}) => wire.get({ url, trusted: true }, headers, signal),
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function headOf(bytes: number, ...lines: readonly string[]): string {
  return ["HTTP/1.1 200 OK", `Content-Length: ${bytes}`, ...lines, "", ""].join("\r\n");
}

async function readAll(reply: WireReply | null): Promise<Buffer> {
  if (reply === null) throw new Error("it was not for this client to read");
  const parts: Buffer[] = [];
  await reply.read((bytes) => parts.push(Buffer.from(bytes)) > 0);
  return Buffer.concat(parts);
}

describe.each(["http", "https"])("over %s", (scheme) => {
  test("asks for the place with the headers it is given, and reads status, headers and body", async () => {
    await using stand = await startStand(scheme, (socket) => {
      socket.write(headOf(content.length, 'ETag: "x"'));
      socket.write(content);
    });
    const reply = await stand.get(never, { range: "bytes=1-2", authorization: "Bearer t" });
    expect([reply?.status, reply?.header("etag"), reply?.header("none")]).toEqual([200, '"x"', null]);
    expect((await readAll(reply)).equals(content)).toBe(true);
    const lines = stand.asked[0]?.split("\r\n") ?? [];
    expect(lines[0]).toBe("GET /a%20file?b=c HTTP/1.1");
    expect(lines).toEqual(
      expect.arrayContaining([`host: ${stand.url.host}`, "range: bytes=1-2", "authorization: Bearer t"]),
    );
  });

  test("one connection serves again, also when the last body was empty", async () => {
    await using stand = await startStand(scheme, (socket, count) => {
      socket.write(count === 2 ? headOf(0) : `${headOf(5)}hello`);
    });
    for (const expected of ["hello", "", "hello"]) {
      expect((await readAll(await stand.get())).toString()).toBe(expected);
    }
    expect(stand.connections).toHaveLength(1);
  });

  test("what comes before anybody reads is kept, in order", async () => {
    const { promise: sent, resolve } = Promise.withResolvers<void>();
    await using stand = await startStand(scheme, (socket) => {
      const early = Buffer.concat([Buffer.from(headOf(content.length)), content.subarray(0, 1000)]);
      socket.write(early);
      socket.write(content.subarray(1000, 20_000), () => resolve());
      socket.write(content.subarray(20_000));
    });
    const reply = await stand.get();
    await sent;
    expect((await readAll(reply)).equals(content)).toBe(true);
  });

  test("a head that comes byte by byte, and a body that comes with it", async () => {
    await using stand = await startStand(scheme, (socket) => {
      const bytes = Buffer.from(`${headOf(5)}hello`);
      const send = (at: number) => {
        if (at >= bytes.length) return;
        socket.write(bytes.subarray(at, at + 1), () => setImmediate(() => send(at + 1)));
      };
      send(0);
    });
    expect((await readAll(await stand.get())).toString()).toBe("hello");
  });

  test("a body that is longer than announced is cut, and its connection not used again", async () => {
    await using stand = await startStand(scheme, (socket) => socket.write(`${headOf(5)}hello, world`));
    for (let count = 1; count <= 2; count += 1) {
      expect((await readAll(await stand.get())).toString()).toBe("hello");
      expect(stand.connections).toHaveLength(count);
    }
  });

  test("a connection that the server closes is not used again", async () => {
    await using stand = await startStand(scheme, (socket) => {
      socket.end(`${headOf(5, "Connection: close")}hello`);
    });
    for (let count = 1; count <= 3; count += 1) {
      expect((await readAll(await stand.get())).toString()).toBe("hello");
      expect(stand.connections).toHaveLength(count);
    }
  });

  test("a kept connection that breaks when it is asked is replaced in silence", async () => {
    await using stand = await startStand(scheme, (socket, count) => {
      if (count === 2) socket.destroy();
      else socket.write(`${headOf(5)}hello`);
    });
    for (let count = 1; count <= 2; count += 1) {
      expect((await readAll(await stand.get())).toString()).toBe("hello");
    }
    expect(stand.connections).toHaveLength(2);
  });

  test.each([
    ["chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ["without a length", "HTTP/1.1 200 OK\r\n\r\nhello"],
    ["not HTTP", "220 ready\r\n\r\n"],
    ["a head too long", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}`],
  ])("an answer that is %s is for somebody else to read", async (_name, text) => {
    await using stand = await startStand(scheme, (socket) => socket.write(text));
    for (let count = 1; count <= 2; count += 1) {
      expect(await stand.get()).toBeNull();
      expect(stand.connections).toHaveLength(count);
    }
  });

  test.each([
    ["before the head", ""],
    ["in the head", "HTTP/1.1 200"],
  ])("a connection that ends %s is a hiccup", async (_name, text) => {
    await using stand = await startStand(scheme, (socket) => socket.end(text));
    await expect(stand.get()).rejects.toMatchObject({ name: "Hiccup", message: "broke the connection off" });
  });

  test.each([
    ["ends", (socket: Socket) => socket.end()],
    ["is destroyed", (socket: Socket) => socket.destroy()],
  ])("a connection that %s in the body is a hiccup, after all that came", async (_name, finish) => {
    await using stand = await startStand(scheme, (socket) => {
      socket.write(`${headOf(10)}hello`, () => setImmediate(() => finish(socket)));
    });
    const reply = await stand.get();
    const parts: string[] = [];
    const read = reply?.read((bytes) => parts.push(Buffer.from(bytes).toString()) > 0);
    await expect(read).rejects.toMatchObject({ name: "Hiccup", message: "broke the connection off" });
    expect(parts.join("")).toBe("hello");
  });

  test("deadlines: no head, no body", async () => {
    await using silent = await startStand(scheme, () => undefined, { headersTimeoutMs: 50 });
    await expect(silent.get()).rejects.toMatchObject({ name: "Hiccup", message: "did not answer in time" });
    await using stand = await startStand(scheme, (socket) => void socket.write(`${headOf(10)}hello`), {
      idleTimeoutMs: 50,
    });
    await expect(readAll(await stand.get())).rejects.toMatchObject({ message: "stopped sending" });
  });

  test("aborting ends whatever is under way with the caller's own reason", async () => {
    await using stand = await startStand(scheme, (socket, count) => {
      if (count === 2) socket.write(`${headOf(10)}hello`);
    });
    const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
    const asking = stand.get(first.signal);
    first.abort(new Error("first"));
    await expect(asking).rejects.toThrow("first");
    const waiting = stand.get(second.signal);
    await expect.poll(() => stand.asked.length).toBe(1);
    second.abort(new Error("second"));
    await expect(waiting).rejects.toThrow("second");
    const reply = await stand.get(third.signal);
    const reading = reply?.read(() => {
      third.abort(new Error("third"));
      return true;
    });
    await expect(reading).rejects.toThrow("third");
  });

  test("a sink that has enough ends the connection, one that throws gets its error back", async () => {
    await using stand = await startStand(scheme, (socket) => {
      socket.write(headOf(content.length));
      socket.write(content);
    });
    let heard = 0;
    await (await stand.get())?.read((bytes) => {
      heard += bytes.byteLength;
      return false;
    });
    expect(heard).toBeLessThan(content.length);
    const broken = (await stand.get())?.read(() => {
      throw new Error("no room");
    });
    await expect(broken).rejects.toThrow("no room");
    (await stand.get())?.close();
    expect((await readAll(await stand.get())).equals(content)).toBe(true);
    expect(stand.connections).toHaveLength(4);
  });

  test("many at once, each on a connection of its own, come out whole", async () => {
    await using stand = await startStand(scheme, (socket) => {
      socket.write(headOf(content.length));
      socket.write(content);
    });
    for (let round = 0; round < 2; round += 1) {
      const all = await Promise.all(Array.from({ length: 8 }, async () => await readAll(await stand.get())));
      expect(all.every((one) => one.equals(content))).toBe(true);
    }
    expect(stand.connections).toHaveLength(8);
  });

  test("an address that is not the endpoint's is checked, by name too", async () => {
    await using stand = await startStand(scheme, () => undefined, { endpointOrigin: "http://127.0.0.1:1" });
    const refused = { failure: { code: "hub_refused" } };
    await expect(stand.get()).rejects.toMatchObject(refused);
    const byNumber = new URL(stand.url);
    byNumber.hostname = "127.0.0.1";
    await expect(stand.wire.get({ url: byNumber, trusted: false }, {}, never)).rejects.toMatchObject(refused);
    expect(stand.connections).toHaveLength(0);
  });

  test("nobody there", async () => {
    const stand = await startStand(scheme, () => undefined);
    await stand[Symbol.asyncDispose]();
    await expect(stand.get()).rejects.toMatchObject({ name: "Hiccup", message: "refused the connection" });
  });
});

test("a certificate that nobody vouches for is not accepted", async () => {
  await using stand = await startStand("https", (socket) => socket.write(`${headOf(5)}hello`));
  setDefaultCACertificates(trusted);
  const message = "has a self-signed certificate";
  await expect(stand.get()).rejects.toMatchObject({ name: "Hiccup", message });
  setDefaultCACertificates([...trusted, certificate.cert]);
  expect((await readAll(await stand.get())).toString()).toBe("hello");
});

test("nor is one for another name", async () => {
  await using stand = await startStand("https", (socket) => socket.write(`${headOf(5)}hello`));
  // A name for this machine that the certificate does not have.
  const url = new URL(stand.url);
  url.hostname = "127.0.0.2";
  const server = createTls({ ...certificate }, (socket) => socket.end(`${headOf(5)}hello`));
  server.listen(Number(url.port), "127.0.0.2");
  await once(server, "listening");
  const wire = openWire(url);
  const message = "has a certificate for another name";
  await expect(wire.get({ url, trusted: true }, {}, never)).rejects.toMatchObject({
    name: "Hiccup",
    message,
  });
  server.close();
});

test("a place that does not speak TLS where it should is a hiccup", async () => {
  const server = createPlain((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`https://localhost:${(server.address() as AddressInfo).port}/`);
  await expect(openWire(url).get({ url, trusted: true }, {}, never)).rejects.toMatchObject({
    name: "Hiccup",
  });
  server.close();
});
