import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test, vi } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { routesVersionHeader } from "../core/routing.ts";
import { bareClient, modelOf, requestText, startRig } from "./test-rig.ts";

async function echoRig(given: Parameters<typeof startRig>[0] = {}) {
  const rig = await startRig(given);
  rig.control.api = (request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      response.writeHead(207, [
        "x-many",
        "1",
        "x-many",
        "2",
        "connection",
        "x-hop",
        "x-hop",
        "1",
        "x-request-id",
        "control's",
      ]);
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(pieces).toString("utf8") }));
    });
  };
  const echo = async (response: Response) =>
    (await response.json()) as { method: string; url: string; headers: Record<string, string>; body: string };
  return { rig, echo };
}

test("everything that is not inference goes to control, with the client's real origin", async () => {
  const { rig, echo } = await echoRig();
  const response = await rig.ask("/deploy/llm?a=%20b&c", {
    method: "POST",
    body: '{"x":1}',
    headers: {
      "x-forwarded-for": "6.6.6.6",
      forwarded: "for=6.6.6.6",
      "x-forwarded-port": "1",
      "x-real-ip": "6.6.6.6",
      te: "trailers",
      "x-kept": "1",
    },
  });
  expect(response.status).toBe(207);
  expect(response.headers.get("x-many")).toBe("1, 2");
  expect(response.headers.get("x-hop")).toBeNull();
  const seen = await echo(response);
  expect(seen).toMatchObject({ method: "POST", url: "/deploy/llm?a=%20b&c", body: '{"x":1}' });
  expect(seen.headers).toMatchObject({
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": `127.0.0.1:${rig.port}`,
    authorization: expect.stringMatching(/^Bearer /),
    "x-kept": "1",
    "x-request-id": response.headers.get("x-request-id"),
  });
  for (const name of ["forwarded", "x-forwarded-port", "x-real-ip", "te"])
    expect(seen.headers[name]).toBeUndefined();
});

test("a trusted proxy's word on the origin is believed", async () => {
  const { rig, echo } = await echoRig({ trustedProxies: ["127.0.0.0/8", "10.1.2.3"] });
  const headers = {
    "x-forwarded-for": "6.6.6.6, 9.9.9.9, 10.1.2.3",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "berth.example",
  };
  const seen = await echo(await rig.ask("/deploy/list/", { headers }));
  expect(seen.headers).toMatchObject({
    "x-forwarded-for": "9.9.9.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "berth.example",
  });
});

test("a write is answered when the gateway goes by it: the next request finds what was written", async () => {
  const rig = await startRig();
  const { instance } = await rig.engine();
  rig.control.api = (_request, response) => {
    response.writeHead(200, { [routesVersionHeader]: "1" });
    // The new routes come later than the whole answer has been sent.
    response.end("{}", () => setImmediate(() => rig.control.publish([modelOf([instance])])));
  };
  const answer = await rig.ask("/deploy/llm", { method: "POST", body: "{}" });
  expect(answer.status).toBe(200);
  expect(answer.headers.get(routesVersionHeader)).toBeNull();
  expect((await rig.chat()).status).toBe(200);
});

test("the routes of the link cannot be reached from outside", async () => {
  const { rig } = await echoRig();
  for (const path of ["/routes?gateway=x", "/load", "//routes", "/v1/../routes", "/%72outes"]) {
    const response = await rig.ask(path);
    expect(response.status).toBe(207);
  }
});

test("a whole URL as target, and chunked bodies", async () => {
  const { rig } = await echoRig();
  const client = await bareClient(rig.port);
  client.socket.write(
    "DELETE http://elsewhere/deploy/x?y=1 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
  );
  const text = await client.until((got) => got.includes('"body"') && got.endsWith("\r\n0\r\n\r\n"));
  expect(text).toContain('"url":"/deploy/x?y=1"');
  expect(text).toContain('"body":"abc"');
});

test("answers stream, and a client that leaves ends control's work", async () => {
  const rig = await startRig();
  const closed = vi.fn();
  rig.control.api = (_request, response) => {
    response.write("first");
    response.once("close", closed);
  };
  const leaving = new AbortController();
  const response = await rig.ask("/deploy/x/logs", { signal: leaving.signal });
  const reader = response.body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("first");
  leaving.abort();
  await eventually(() => expect(closed).toHaveBeenCalled());
});

test("control away: 503 in its own shape; control that breaks off within an answer: the client sees it", async () => {
  const rig = await startRig({ isControlAway: true });
  const away = await rig.ask("/deploy/list");
  expect(away.status).toBe(503);
  expect(away.headers.get("retry-after")).toBe("2");
  expect(await away.json()).toEqual({
    error: expect.stringMatching(/control process.*Try again in a moment/),
  });
  await rig.control.listen();
  rig.control.api = (_request, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("half", () => response.destroy());
  };
  const response = await rig.ask("/deploy/list");
  await expect(response.text()).rejects.toThrow();
  rig.control.api = (request) => request.socket.destroy();
  const unsure = await rig.ask("/deploy/llm", { method: "POST", body: "{}" });
  expect([unsure.status, await unsure.json()]).toEqual([
    503,
    { error: expect.stringContaining("may or may not") },
  ]);
});

test("a refusal that comes before the body has been sent reaches the client", async () => {
  const rig = await startRig();
  rig.control.api = (_request, response) => response.writeHead(401).end('{"error":"who are you"}');
  const response = await rig.ask("/deploy/llm", { method: "POST", body: "x".repeat(1_000_000) });
  expect([response.status, await response.text()]).toEqual([401, '{"error":"who are you"}']);
});

test("a body above control's limit is 413, announced or not", async () => {
  const { rig } = await echoRig();
  const large = Buffer.alloc(5_000_000, "x");
  const chunked = new ReadableStream({
    start(controller) {
      controller.enqueue(large);
      controller.close();
    },
  });
  for (const init of [{ body: large }, { body: chunked, duplex: "half" as const }]) {
    const response = await rig.ask("/deploy/llm", { method: "POST", ...init });
    expect([response.status, await response.json()]).toEqual([
      413,
      { error: expect.stringContaining("1 MB") },
    ]);
  }
});

test("HEAD, and Expect: 100-continue", async () => {
  const { rig } = await echoRig();
  expect((await rig.ask("/deploy/list", { method: "HEAD" })).status).toBe(207);
  const request = httpRequest(`${rig.url}/deploy/llm`, {
    method: "POST",
    headers: { expect: "100-continue" },
  });
  request.flushHeaders();
  await once(request, "continue");
  request.end("late");
  const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage];
  let text = "";
  for await (const piece of response as AsyncIterable<Buffer>) text += piece.toString("utf8");
  expect(JSON.parse(text)).toMatchObject({ body: "late" });
  expect(JSON.parse(text).headers.expect).toBeUndefined();
});

test("what is no request is refused cleanly", async () => {
  const { rig } = await echoRig();
  const bad = [
    "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c: d\r\n\u0000\r\n\r\n",
    "GET / HTTP/1.1\nhost: a\n\u0001\n\n",
    `GET / HTTP/1.1\r\nhost: a\r\nx-a: ${"a".repeat(20_000)}\r\n\r\n`,
    "nonsense\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
  ];
  for (const text of bad) {
    const client = await bareClient(rig.port);
    client.socket.write(text, "latin1");
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 (400|431) /);
  }
  const client = await bareClient(rig.port);
  client.socket.write(requestText("/v1/models", "", ["expect: the-unexpected"], "GET /v1/models HTTP/1.1"));
  expect(await client.until((got) => got.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 417 /);
});

test("an HTTP/1.0 client without a Host header is answered", async () => {
  const { rig } = await echoRig();
  const client = connect(rig.port, "127.0.0.1");
  client.write("GET /v1/me HTTP/1.0\r\n\r\n");
  const answer = await text(client);
  expect(answer).toMatch(/^HTTP\/1\.1 207 /);
  expect(answer).toContain('"host":"berth"');
});
