/** Whether an engine that says it is ready answers, against servers that do not. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { warmUpEngine } from "./client.ts";

async function ask(listener: RequestListener, timeoutMs = 5000) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const endpoint = { kind: "tcp", host: "127.0.0.1", port } as const;
  return await warmUpEngine({ endpoint, secret: "s", servedName: "ann/m" }, timeoutMs);
}

const completion = JSON.stringify({ choices: [{ index: 0, text: "", finish_reason: "stop" }] });
const vector = JSON.stringify({ data: [{ index: 0, embedding: [1] }] });

test("a token is enough, also an empty one", async () => {
  expect(await ask((_, response) => response.end(completion))).toBeNull();
});

test("a model that makes vectors gives one", async () => {
  const listener: RequestListener = ({ url }, response) => {
    if (url === "/v1/embeddings") response.end(vector);
    else response.writeHead(400).end("{}");
  };
  expect(await ask(listener)).toBeNull();
});

test("an engine whose slots are taken is asked until one is free", async () => {
  let asked = 0;
  const listener: RequestListener = (_, response) => {
    asked += 1;
    if (asked < 3) response.writeHead(503).end("{}");
    else response.end(completion);
  };
  expect(await ask(listener)).toBeNull();
  expect(asked).toBe(3);
});

test.each<[string, RequestListener, RegExp]>([
  ["nothing at all", () => undefined, /gave no answer in 0\.3 s when it was asked for one token\.$/],
  ["no room, ever", (_, response) => response.writeHead(503).end("{}"), /had no room for 0\.3 s/],
  ["an end", ({ socket }) => socket.destroy(), /broke off the connection instead of answering/],
  ["an empty answer", (_, response) => response.end(), /something that is no answer/],
  ["a page", (_, response) => response.end("<html></html>"), /something that is no answer/],
  ["JSON that is none", (_, response) => response.end('{"choices":[]}'), /something that is no answer/],
  ["an error", (_, response) => response.writeHead(500).end("{}"), /answered with status 500/],
])("%s is no answer", async (_what, listener, message) => {
  const told = await ask(listener, 300);
  expect(told).toMatchObject({ code: "warm_up_failed", message: expect.stringMatching(message) });
});
