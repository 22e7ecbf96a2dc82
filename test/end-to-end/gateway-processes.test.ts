/**
 * Several gateway processes under load, seen from the engines: invariant 10 (no more than its slots) and 6 (crash-only),
 * whoever is killed or renewed.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annToken, bobToken } from "../../src/gateway/test-rig.ts";
import { until } from "../harness/berth.ts";
import { type GatewayProcesses, type Outcome, startGatewayProcesses } from "../harness/gateway-processes.ts";

const slots = 2;
const whole = (outcomes: readonly Outcome[]) => outcomes.filter(({ isWhole }) => isWhole).length;
const most = ({ engines }: GatewayProcesses) => engines.map(({ maxBusy }) => maxBusy);

/** So many clients, each asking again as soon as it has its answer, until told to end. */
function startClients(berth: GatewayProcesses, count: number) {
  const outcomes: Outcome[] = [];
  let isOver = false;
  const client = async (at: number) => {
    const [token, deployment] = [at % 2 === 0 ? annToken : bobToken, at % 3];
    while (!isOver) outcomes.push(await berth.ask({ token, deployment }));
  };
  const clients = Promise.all(Array.from({ length: count }, (_, at) => client(at)));
  return {
    outcomes,
    more: (count: number) => {
      const wanted = outcomes.length + count;
      return until(`${count} more answers`, () => outcomes.length >= wanted);
    },
    end: async () => {
      isOver = true;
      await clients;
    },
  };
}

/** Connections of clients that a process has accepted. */
function connectionsOf(pid: number, port: number): number {
  const fds = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state, , , , , , inode]) => {
      const isEstablished = local?.endsWith(`:${hexPort}`) === true && state === "01";
      return isEstablished && fds.includes(`socket:[${inode}]`);
    }).length;
}

/** Renews all of them by the signal and waits until no process of before is left. */
async function renewAll(berth: GatewayProcesses): Promise<void> {
  const before = berth.pids();
  process.emit("SIGUSR2");
  await until("others in their place", () => {
    const now = berth.pids();
    return now.length === before.length && !now.some((pid) => before.includes(pid));
  });
}

async function renewUnderLoad(berth: GatewayProcesses): Promise<void> {
  const clients = startClients(berth, 12);
  await clients.more(30);
  await renewAll(berth);
  await clients.more(30);
  await clients.end();
  expect(clients.outcomes.filter(({ isWhole }) => !isWhole)).toEqual([]);
  expect(most(berth)).toEqual([slots, slots, slots]);
  await berth.idle();
}

describe("three processes", () => {
  let berth: GatewayProcesses;
  beforeAll(async () => {
    berth = await startGatewayProcesses(3, slots);
  });
  afterAll(async () => await berth?.end());

  test("engines have no more than their slots, and as many where more is asked for", async () => {
    const asked = Array.from({ length: 300 }, (_, at) =>
      berth.ask({ token: at % 2 === 0 ? annToken : bobToken, deployment: at % 3 }),
    );
    expect(whole(await Promise.all(asked))).toBe(300);
    expect(most(berth)).toEqual([slots, slots, slots]);
    await berth.idle();
    // One page tells of all of them, and more than one had something to do.
    const page = await (await fetch(`http://127.0.0.1:${berth.port}/metrics`)).text();
    const counts = [...page.matchAll(/^berth_requests_total\{.*status="2xx",process="(\d)"\} (\d+)$/gm)];
    const byProcess = Map.groupBy(counts, ([, process]) => process ?? "");
    const sums = [...byProcess.values()].map((all) =>
      all.reduce((sum, [, , count]) => sum + Number(count), 0),
    );
    expect(sums.reduce((sum, count) => sum + count, 0)).toBe(300);
    expect(sums.filter((count) => count > 0).length).toBeGreaterThan(1);
  });

  test("an account that floods a model waits for its turns like in one process", async () => {
    const [engine] = berth.engines;
    const flood = Array.from({ length: 60 }, () => berth.ask({ text: "flood" }));
    await until("the flood to wait", () => berth.load().queued >= 50);
    const before = engine?.seen.length ?? 0;
    const polite = Array.from({ length: 8 }, () => berth.ask({ token: bobToken, text: "polite" }));
    expect(whole(await Promise.all(polite))).toBe(8);
    expect(whole(await Promise.all(flood))).toBe(60);
    const turns = engine?.seen.slice(before).map(({ body }) => body.includes("polite")) ?? [];
    // From when they were there they had every other turn; some of the flood went before they all were.
    const [first, last] = [turns.indexOf(true), turns.lastIndexOf(true)];
    expect(last - first).toBeLessThanOrEqual(2 * 8 + 2 * slots);
    await berth.idle();
  });

  test("one that is killed loses its own streams alone, and its slots are free at once", async () => {
    const clients = startClients(berth, 24);
    await clients.more(50);
    const lost = () => clients.outcomes.length - whole(clients.outcomes);
    const [pid = 0] = berth.pids();
    // Stopped first, so that what it has can be counted.
    process.kill(pid, "SIGSTOP");
    const own = connectionsOf(pid, berth.port);
    process.kill(pid, "SIGKILL");
    await until("another one", () => berth.pids().length === 3 && !berth.pids().includes(pid));
    await clients.more(50);
    await clients.end();
    expect(lost()).toBeLessThanOrEqual(own);
    expect(own).toBeLessThan(24);
    expect(most(berth)).toEqual([slots, slots, slots]);
    await berth.idle();
  });

  test("one that hangs is replaced, and its models' lines go on", async () => {
    const [stopped = 0] = berth.pids();
    process.kill(stopped, "SIGSTOP");
    await until("another one", () => berth.pids().length === 3 && !berth.pids().includes(stopped));
    const asked = Array.from({ length: 12 }, (_, at) => berth.ask({ deployment: at % 3 }));
    expect(whole(await Promise.all(asked))).toBe(12);
    await berth.idle();
  });

  test("a renewal of all costs nobody anything", () => renewUnderLoad(berth));
});

test("one process: a renewal costs nobody anything, and engines have no more than their slots meanwhile", async () => {
  const berth = await startGatewayProcesses(1, slots);
  await renewUnderLoad(berth);
  await berth.end();
});
