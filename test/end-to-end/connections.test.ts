/**
 * As many connections as several processes of the gateway may have together, and what happens above that: nobody is turned
 * away while any of them has room, whoever comes then is told so, and one that has left makes room for another.
 */
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GatewayProcesses, startGatewayProcesses } from "../harness/gateway-processes.ts";
import { until } from "../harness/until.ts";

const processes = 3;
const each = 10;

let berth: GatewayProcesses;
const sockets: Socket[] = [];
beforeAll(async () => {
  berth = await startGatewayProcesses(processes, 1, { env: { BERTH_CONNECTIONS: String(each) } });
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await berth?.end();
});

/** All that comes after a question on a connection, up to the end of one answer or of the connection. */
async function ask(socket: Socket): Promise<string> {
  socket.write("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
  let text = "";
  return await new Promise((resolve) => {
    const take = (piece: Buffer) => {
      text += String(piece);
      if (text.endsWith("}")) end();
    };
    const end = () => {
      socket.off("data", take).off("close", end);
      resolve(text);
    };
    socket.on("data", take).on("close", end);
  });
}

async function open(): Promise<{ readonly socket: Socket; readonly answer: string }> {
  const socket = connect(berth.port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => undefined); // "close" follows
  return { socket, answer: await ask(socket) };
}

test("all places are taken before anybody is turned away; who is, is told so; who leaves makes room", async () => {
  const within = await Promise.all(Array.from({ length: processes * each }, open));
  expect(within.map(({ answer }) => answer.slice(0, 15))).toEqual(within.map(() => "HTTP/1.1 200 OK"));
  for (let at = 0; at < 5; at += 1) {
    const { answer } = await open();
    expect(answer).toMatch(/^HTTP\/1\.1 503 [\s\S]*connection: close\r\n[\s\S]*retry-after: \d+\r\n/);
    expect(JSON.parse(answer.split("\r\n\r\n")[1] ?? "")).toMatchObject({ error: { code: "overloaded" } });
  }
  // Those that stay are served as before.
  for (const { socket } of within) expect(await ask(socket)).toMatch(/^HTTP\/1\.1 200 /);
  for (const { socket } of within.slice(0, 5)) socket.destroy();
  for (let at = 0; at < 5; at += 1) {
    await until("room for another", async () => (await open()).answer.startsWith("HTTP/1.1 200 "));
  }
});
