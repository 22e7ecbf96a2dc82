/**
 * A process of clients for idle.ts: opens its share of connections, asks once on each and keeps them, asks again on some when
 * told to, and leaves. Owns its sockets; what is right is idle.ts's to judge.
 *
 *   idle-clients.ts <port> <own network, as 127.0.1> <connections>
 *
 * Each line on stdin is a step ("ask"), each line on stdout what came of one. Ends with its stdin.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** What one step came to. */
export type Told = {
  /** Connections that stand. */
  readonly open: number;
  /** Connections that were refused, or have ended unasked. */
  readonly lost: number;
  /** Questions that had another answer than they should. */
  readonly wrong: number;
};

/** Of the own network, in turn: the system looks for a free port of an address for longer, the more of them are taken. */
const addresses = 20;
/** Connections that are opened, or asked on, side by side. */
const atOnce = 50;
/** Of all connections, that many are asked on again. */
const askedAgain = 500;
const answerLimitMs = 60_000;
const askText = "GET /healthz HTTP/1.1\r\nhost: idle\r\n\r\n";
/** Connections that say nothing are closed after 65 s: nobody here is silent for as long. */
const silentMs = 40_000;
const lookMs = 2000;

type Client = { readonly socket: Socket; askedAtMs: number };

/** The status of the answer; 0 when the connection ended instead, or nothing came. */
async function ask(client: Client): Promise<number> {
  const { socket } = client;
  client.askedAtMs = performance.now();
  if (socket.destroyed) return 0; // its end has been told already
  return await new Promise((resolve) => {
    const settle = (status: number) => {
      clearTimeout(late);
      socket.off("close", closed).off("data", came);
      resolve(status);
    };
    const closed = () => settle(0);
    const came = (data: Buffer) => settle(Number(String(data).slice(9, 12)));
    const late = setTimeout(() => settle(0), answerLimitMs);
    socket.once("close", closed).once("data", came);
    socket.write(askText);
  });
}

async function open(port: number, localAddress: string): Promise<Client> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  socket.on("error", () => undefined); // "close" follows
  await new Promise<void>((resolve) => {
    socket.once("connect", () => resolve()).once("close", () => resolve());
  });
  return { socket, askedAtMs: 0 };
}

async function run(port: number, network: string, count: number): Promise<void> {
  const clients: Client[] = [];
  let begun = 0;
  let wrong = 0;
  const tell = () => {
    const stand = clients.filter(({ socket }) => socket.readyState === "open").length;
    const told: Told = { open: stand, lost: clients.length - stand, wrong };
    console.log(JSON.stringify(told));
  };
  const openSome = async () => {
    while (begun < count) {
      begun += 1;
      const client = await open(port, `${network}.${1 + (begun % addresses)}`);
      clients.push(client);
      if ((await ask(client)) !== 200) wrong += 1;
    }
  };
  const askSilent = async () => {
    const nowMs = performance.now();
    const silent = clients.filter(
      ({ socket, askedAtMs }) => !socket.destroyed && nowMs - askedAtMs > silentMs,
    );
    const left = silent.values();
    const askSome = async () => {
      for (const client of left) if ((await ask(client)) !== 200) wrong += 1;
    };
    await Promise.all(Array.from({ length: atOnce }, askSome));
  };
  // From the beginning: the first ones would be closed before the last ones are opened.
  let asking: Promise<void> = Promise.resolve();
  const looks = setInterval(() => {
    asking = asking.then(askSilent);
  }, lookMs);
  await Promise.all(Array.from({ length: atOnce }, openSome));
  tell();
  for await (const _ of createInterface(process.stdin)) {
    await asking;
    const step = Math.max(1, Math.floor(count / askedAgain));
    const statuses = await Promise.all(clients.filter((_, at) => at % step === 0).map(ask));
    wrong += statuses.filter((status) => status !== 200).length;
    tell();
  }
  clearInterval(looks);
  process.exit();
}

const [port, network = "", count] = process.argv.slice(2);
await run(Number(port), network, Number(count));
