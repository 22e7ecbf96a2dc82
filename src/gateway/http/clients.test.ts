/** Clients of every kind at once: whatever they send, and however they leave, each request ends once and nothing stays. */
import { connect } from "node:net";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { eventually } from "../../../test/harness/until.ts";
import { TurnEnd } from "../turn-end.ts";
import type { HttpRequest } from "./request.ts";
import type { HttpResponse } from "./response.ts";
import { HttpServer } from "./server.ts";

const limits = { idleMs: 60_000, headMs: 60_000, uploadMs: 60_000, silenceMs: 60_000, connectionsMax: 1000 };

/** Three of them are less than what is read ahead: of a client that has sent more nobody sees that it has left. */
const bodyBytes = 20_000;

/** How an answer comes: at once, when the body has come, in pieces, never, or broken off. */
const manners = ["now", "echo", "stream", "never", "break"] as const;

function answer(request: HttpRequest, response: HttpResponse): void {
  const manner = manners.find((name) => request.url.startsWith(`/${name}`)) ?? "now";
  const respond = () => response.send(200, [], Buffer.from(request.url));
  const take = (end: () => void) =>
    request.takeBody({ piece: () => setImmediate(() => request.resume()), end });
  if (manner === "now") respond();
  else if (manner === "echo") take(respond);
  else if (manner === "break") setImmediate(() => response.destroy());
  else if (manner === "stream") {
    take(() => {
      response.begin(200, [], null);
      response.write(Buffer.from(request.url));
      setImmediate(() => response.end(Buffer.from(".")));
    });
  }
}

const bodies = {
  none: "\r\n",
  length: `content-length: ${bodyBytes}\r\n\r\n${"x".repeat(bodyBytes)}`,
  chunks: "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  half: "content-length: 9\r\n\r\nabc",
  broken: "transfer-encoding: chunked\r\n\r\n3\r\nabcd",
};

const request = fc
  .record({
    manner: fc.constantFrom(...manners),
    id: fc.nat(999),
    body: fc.constantFrom(...(["none", "length", "chunks", "half", "broken"] as const)),
  })
  .map(({ manner, id, body }) => {
    const start = `POST /${manner}/${id} HTTP/1.1\r\nhost: a\r\n`;
    return start + bodies[body];
  });
const client = fc.record({
  requests: fc.array(request, { minLength: 1, maxLength: 4 }),
  cuts: fc.array(fc.nat(2000), { maxLength: 4 }),
  leaving: fc.constantFrom("end", "destroy", "end at once", "destroy at once"),
});

/** Sends in pieces, leaves, and resolves with what had come when the connection has ended. */
async function visit(
  port: number,
  { requests, cuts, leaving }: typeof client extends fc.Arbitrary<infer T> ? T : never,
) {
  const text = requests.join("");
  const places = [0, ...cuts.map((cut) => cut % text.length).sort((a, b) => a - b), text.length];
  const socket = connect(port, "127.0.0.1").setEncoding("latin1");
  let received = "";
  socket.on("data", (piece: string) => {
    received += piece;
  });
  socket.on("error", () => undefined); // "close" follows
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  for (const [at, place] of places.slice(1).entries()) {
    socket.write(text.slice(places[at], place), "latin1");
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!leaving.endsWith("at once")) {
    // Something has come, or nothing will: what is asked first is never answered, or its body never ends.
    await Promise.race([closed, vi.waitFor(() => expect(received).not.toBe(""), 50).catch(() => undefined)]);
  }
  if (leaving.startsWith("end")) {
    socket.end();
    // It may wait for an answer that never comes.
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  socket.destroy();
  await closed;
  return received;
}

/** The targets that whole answers name, in the order in which they came. */
function answeredIn(received: string): string[] {
  const answers = received.split("HTTP/1.1 200 OK\r\n").slice(1);
  const targets = answers.map((text) => /\r\n\r\n(?:[0-9a-f]+\r\n)?(\/[a-z]+\/\d+)/.exec(text)?.[1]);
  return targets.filter((target) => target !== undefined);
}

test("each request ends once, answers come in order, and no connection stays", async () => {
  let begun = 0;
  let answers = 0;
  const ended = new Map<HttpResponse, number>();
  const server = new HttpServer({
    ...{ tls: null, limits, turnEnd: new TurnEnd(), now: Date.now },
    onRequest(asked, response) {
      begun += 1;
      response.onClose = () => ended.set(response, (ended.get(response) ?? 0) + 1);
      answer(asked, response);
    },
  });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" }, 1000);
  await fc.assert(
    fc.asyncProperty(fc.array(client, { minLength: 1, maxLength: 10 }), async (clients) => {
      const received = await Promise.all(clients.map((each) => visit(port, each)));
      for (const [at, { requests }] of clients.entries()) {
        const asked = requests.map((text) => text.split(" ", 2)[1] ?? "");
        const answered = answeredIn(received[at] ?? "");
        expect(asked.slice(0, answered.length)).toEqual(answered);
        answers += answered.length;
      }
    }),
    { numRuns: 40 },
  );
  expect(answers).toBeGreaterThan(0);
  await eventually(() => expect(ended.size).toBe(begun));
  expect([...ended.values()].every((times) => times === 1)).toBe(true);
  await server.close();
});
