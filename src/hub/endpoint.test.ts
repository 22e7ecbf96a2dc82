/** Where the bytes of a file are: remembered while that is good, asked for again when it is not. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { Endpoint } from "./endpoint.ts";
import { Hiccup } from "./failures.ts";
import { defaultHubLimits } from "./limits.ts";
import type { Range } from "./ranges.ts";
import { hastyClock } from "./testing.ts";

const file = { path: "model.gguf", bytes: 10, sha256: "a".repeat(64), gitOid: null };
const content = Buffer.from("0123456789");
const rule = { ...defaultHubLimits, clock: hastyClock, random: () => 0 };

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers the range that was asked for. */
const serve: Answer = (request, response) => {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const part = content.subarray(Number(from), Number(to) + 1);
  const range = { "content-range": `bytes ${from}-${to}/10`, "content-length": part.length };
  response.writeHead(206, range).end(part);
};
const redirect =
  (location: string): Answer =>
  (_request, response) =>
    response.writeHead(302, { location, "content-length": 0 }).end();
const refuse =
  (status: number): Answer =>
  (_request, response) =>
    response.writeHead(status, { "content-length": 0 }).end();

/** A server with places; each answers with the first of its answers that is left, the last one for ever. */
async function startStand(places: Readonly<Record<string, Answer[]>>) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const place = Object.keys(places).find((name) => request.url?.includes(name)) ?? "";
    asked.push(place);
    const answers = places[place] ?? [];
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === undefined) response.destroy();
    else answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const endpoint = new Endpoint({ ...defaultHubLimits, endpoint: url, allowPrivateRedirects: true }, rule);
  const open = endpoint.opener("acme/tiny", "c".repeat(40), null);
  return {
    asked,
    /** Reads a range; a hiccup's message in its place. */
    async read(range: Range): Promise<string> {
      try {
        const opened = await open(file, range, new AbortController().signal);
        let text = "";
        await opened.read((bytes) => {
          text += Buffer.from(bytes).toString();
          return true;
        });
        return `${opened.offset}: ${text}`;
      } catch (error) {
        if (error instanceof Hiccup) return error.message;
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const first = { start: 0, end: 4 };
const second = { start: 4, end: 10 };

test("further ranges are asked for where the first one was", async () => {
  await using stand = await startStand({ "/resolve/": [redirect("/one")], "/one": [serve] });
  expect([await stand.read(first), await stand.read(second)]).toEqual(["0: 0123", "4: 456789"]);
  expect(stand.asked).toEqual(["/resolve/", "/one", "/one"]);
});

test("a place that redirects by now is asked for again, and the redirect followed", async () => {
  await using stand = await startStand({
    "/resolve/": [redirect("/one")],
    "/one": [serve, redirect("/two")],
    "/two": [serve],
  });
  expect([await stand.read(first), await stand.read(second)]).toEqual(["0: 0123", "4: 456789"]);
});

test("a place that refuses by now is asked for again", async () => {
  await using stand = await startStand({
    "/resolve/": [redirect("/one"), redirect("/two")],
    "/one": [serve, refuse(403)],
    "/two": [serve],
  });
  expect([await stand.read(first), await stand.read(second)]).toEqual(["0: 0123", "4: 456789"]);
});

test.each([
  ["is out of order", refuse(503), "answered 503"],
  ["breaks off", (_request, response) => void response.socket?.destroy(), "broke the connection off"],
] satisfies [string, Answer, string][])(
  "a place that %s is not asked for ever: the endpoint may know a better one",
  async (_name, fail, message) => {
    await using stand = await startStand({
      "/resolve/": [redirect("/one"), redirect("/two")],
      "/one": [serve, fail],
      "/two": [serve],
    });
    expect(await stand.read(first)).toBe("0: 0123");
    expect(await stand.read(second)).toBe(message);
    expect(await stand.read(second)).toBe("4: 456789");
  },
);
