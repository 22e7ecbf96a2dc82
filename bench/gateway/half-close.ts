/**
 * What servers do for a client that ends its sending side when it has asked: Berth's, node:http, nginx and haproxy, as their
 * makers set them and with the setting that each has for it.
 *
 *   node bin/node.js bench/gateway/half-close.ts [path of haproxy]
 *
 * Prints for each what the client got of an answer that is late (its end comes before the answer begins) and of one that is
 * under way (its end comes within it), and when whoever makes the answer heard that the client had left. nginx is the
 * system's; haproxy is left out where it is not on PATH and no path is given.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HttpServer } from "../../src/gateway/http/server.ts";
import { TurnEnd } from "../../src/gateway/turn-end.ts";
import { until } from "../../test/harness/until.ts";

/** What an answer is written to, whoever carries it to the client. */
type Sink = { begin(): void; piece(text: string): void; end(): void };

const pauseMs = 100;
const pieces = ["one,", "two,", "three,", "four"];
const whole = pieces.join("");

/** When the answer's maker was told that nobody waits for it, since the client's end; null when it was not. */
let endedAtMs = 0;
let toldAfterMs: number | null = null;

function noteLeave(): void {
  toldAfterMs ??= performance.now() - endedAtMs;
}

/** Five pauses before a late answer begins, one between two pieces. Stops when the client has left. */
function answer(path: string, sink: Sink): { stop(): void } {
  let steps = path === "/late" ? -5 : 0;
  if (steps === 0) sink.begin();
  const timer = setInterval(() => {
    steps += 1;
    if (steps === 0) sink.begin();
    const piece = pieces[steps - 1];
    if (piece !== undefined) sink.piece(piece);
    if (steps < pieces.length) return;
    clearInterval(timer);
    sink.end();
  }, pauseMs);
  return { stop: () => clearInterval(timer) };
}

/** The same answers by hand, for those who only pass them on. */
function startUpstream(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    let isDone = false;
    socket.once("data", (head) => {
      const path = String(head).split(" ", 2)[1] ?? "";
      const running = answer(path, {
        begin: () =>
          socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"),
        piece: (text) => socket.write(`${text.length.toString(16)}\r\n${text}\r\n`),
        end() {
          isDone = true;
          socket.end("0\r\n\r\n");
        },
      });
      const leave = () => {
        running.stop();
        if (!isDone) noteLeave();
        socket.destroy();
      };
      socket.on("end", leave).on("close", leave);
    });
    socket.on("error", () => undefined); // "close" follows
  });
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function startNode(isHalfOpen: boolean): Promise<number> {
  const server = createHttpServer((request, response) => {
    const running = answer(request.url ?? "", {
      begin: () => response.writeHead(200, { "content-type": "text/plain" }).flushHeaders(),
      piece: (text) => response.write(text),
      end: () => response.end(),
    });
    response.on("close", () => {
      running.stop();
      if (!response.writableFinished) noteLeave();
    });
  });
  Object.assign(server, { httpAllowHalfOpen: isHalfOpen });
  return await portOf(server);
}

async function startBerthServer(): Promise<number> {
  const server = new HttpServer({
    ...{ tls: null, turnEnd: new TurnEnd(), now: Date.now },
    limits: { idleMs: 60_000, headMs: 60_000, uploadMs: 60_000, silenceMs: 60_000, connectionsMax: 100 },
    onRequest(request, response) {
      const running = answer(request.url, {
        begin: () => response.begin(200, ["content-type", "text/plain"], null),
        piece: (text) => response.write(Buffer.from(text)),
        end: () => response.end(),
      });
      response.onClose = () => {
        running.stop();
        if (!response.isFinished) noteLeave();
      };
    },
  });
  return (await server.listen({ port: 0, host: "127.0.0.1" }, 100)).port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await portOf(server);
  server.close();
  await once(server, "close");
  return port;
}

async function startProxy(program: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  await until(`${program} to listen`, async () => {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    return isOpen;
  });
  return child;
}

async function startNginx(folder: string, upstream: number, ignoresAbort: boolean) {
  const port = await freePort();
  const prefix = join(folder, `nginx-${port}`);
  mkdirSync(join(prefix, "tmp"), { recursive: true });
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const conf = join(prefix, "nginx.conf");
  writeFileSync(
    conf,
    `daemon off; pid ${prefix}/pid; worker_processes 1; events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${prefix}/tmp/${name};`).join(" ")}
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${upstream}; proxy_http_version 1.1; proxy_buffering off;
      proxy_ignore_client_abort ${ignoresAbort ? "on" : "off"};
    }
  }
}`,
  );
  const args = ["-p", prefix, "-c", conf, "-e", join(prefix, "error.log")];
  return { port, child: await startProxy("/usr/sbin/nginx", args, port) };
}

async function startHaproxy(program: string, folder: string, upstream: number, abortsOnClose: boolean) {
  const port = await freePort();
  const conf = join(folder, `haproxy-${port}.cfg`);
  writeFileSync(
    conf,
    `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-no-delay
  ${abortsOnClose ? "option abortonclose" : ""}
listen all
  bind 127.0.0.1:${port}
  server one 127.0.0.1:${upstream}
`,
  );
  return { port, child: await startProxy(program, ["-db", "-f", conf], port) };
}

/** Asks, ends its side at once or within the answer, and tells what came until the connection's end. */
async function visit(port: number, path: "/late" | "/now"): Promise<string> {
  const socket: Socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let text = "";
  socket.setEncoding("latin1").on("error", () => undefined); // "close" follows
  const isOver = new Promise<void>((resolve) => {
    socket.once("end", () => resolve());
    socket.once("close", () => resolve());
  });
  toldAfterMs = null;
  socket.on("data", (piece: string) => {
    if (path === "/now" && !text.includes("one,") && (text + piece).includes("one,")) end();
    text += piece;
  });
  const end = () => {
    endedAtMs = performance.now();
    socket.end();
  };
  await once(socket, "connect");
  const ask = `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`;
  socket.write(ask);
  // By then the request has come to whoever answers it.
  if (path === "/late") setTimeout(end, pauseMs);
  await isOver;
  const tookMs = performance.now() - endedAtMs;
  socket.destroy();
  // A leave that is told of only after the answer would have ended is none.
  await new Promise((resolve) => setTimeout(resolve, 12 * pauseMs));
  const interims = text.match(/HTTP\/1\.1 100 Continue\r\n\r\n/g)?.length ?? 0;
  const [, body = ""] = /HTTP\/1\.1 200[\s\S]*?\r\n\r\n([\s\S]*)/.exec(text) ?? [];
  const said = body.replaceAll(/\r\n|(?:^|(?<=\n))[0-9a-f]+(?=\r\n)/g, "");
  const status = /^HTTP\/1\.1 ([2-5]\d\d)/m.exec(text)?.[1] ?? "no answer";
  const got = said === whole ? "the whole answer" : `${status}, "${said}" and the end`;
  const asked = interims === 0 ? "" : ` (and ${interims} interim answers)`;
  const told = toldAfterMs === null ? "not told" : `told after ${Number(toldAfterMs).toFixed(0)} ms`;
  return `${got}${asked} after ${tookMs.toFixed(0)} ms; its maker was ${told}`;
}

const folder = mkdtempSync(join(tmpdir(), "berth-half-close-"));
const children: ChildProcess[] = [];
try {
  const upstream = await portOf(startUpstream());
  const haproxy = process.argv[2] ?? "";
  const servers: [name: string, port: number][] = [
    ["Berth", await startBerthServer()],
    ["node:http", await startNode(false)],
    ["node:http, httpAllowHalfOpen", await startNode(true)],
  ];
  const add = (name: string, { port, child }: { readonly port: number; readonly child: ChildProcess }) => {
    children.push(child);
    servers.push([name, port]);
  };
  add("nginx", await startNginx(folder, upstream, false));
  add("nginx, proxy_ignore_client_abort on", await startNginx(folder, upstream, true));
  if (haproxy !== "") {
    add("haproxy", await startHaproxy(haproxy, folder, upstream, false));
    add("haproxy, option abortonclose", await startHaproxy(haproxy, folder, upstream, true));
  }
  for (const [name, port] of servers) {
    console.log(name);
    console.log(`  before the answer: ${await visit(port, "/late")}`);
    console.log(`  within the answer: ${await visit(port, "/now")}`);
  }
} finally {
  for (const child of children) child.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
