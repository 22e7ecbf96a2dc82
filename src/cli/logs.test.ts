import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

let berth: StandIn;
let isAway: boolean;
let log: Record<string, [string, string][]>;
beforeEach(async () => {
  berth = await startStandIn();
  log = {};
  isAway = false;
  berth.answer("GET /deploy/list", () => ({ json: [sampleDeployment()] }));
  // The window rules of the API: `from` alone gives the first lines after it, no window the last.
  berth.answer("GET /v1/deployment_logs/query", ({ path }) => {
    if (isAway) return { status: 503, json: { error: "Restarting." } };
    const query = new URL(path, "http://x").searchParams;
    const limit = Number(query.get("limit") ?? 100);
    const from = query.get("from");
    const rows = Object.entries(log)
      .flatMap(([instance, lines]) => lines.map(([time, text]) => ({ instance, time, text })))
      .filter((row) => from === null || Number(row.time) >= Number(from))
      .sort((a, b) => Number(a.time) - Number(b.time));
    const entries: Record<string, [string, string][]> = {};
    for (const row of from === null ? rows.slice(-limit) : rows.slice(0, limit)) {
      entries[row.instance] = [...(entries[row.instance] ?? []), [row.time, row.text]];
    }
    return { json: { entries } };
  });
});
afterEach(() => berth.close());

const env = () => ({ BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" });
const startS = Date.UTC(2026, 10, 1, 12, 0, 0) / 1000;
const at = (offsetS: number, text: string): [string, string] => [`${startS + offsetS}.250000000`, text];

test("the latest lines, with times, without control sequences", async () => {
  log = { one: [at(-60, "older"), at(-30, "load\u001b[2Jed"), at(-1, "ready")] };
  const { code, stdout } = await runCli(["logs", "qwen", "-n", "2"], { env: env() });
  expect(code).toBe(0);
  expect(stdout).toBe("2026-11-01 11:59:30.250  loaded\n2026-11-01 11:59:59.250  ready\n");
});

test("several instances are marked", async () => {
  log = { "instance-aaaaaaaa": [at(-2, "x")], "instance-bbbbbbbb": [at(-1, "y")] };
  const { stdout } = await runCli(["logs", "ann/qwen"], { env: env() });
  expect(stdout).toBe("2026-11-01 11:59:58.250  aaaaaaaa  x\n2026-11-01 11:59:59.250  bbbbbbbb  y\n");
});

test("--since reads page after page; -n keeps the last of them", async () => {
  log = {
    one: Array.from({ length: 2500 }, (_, index) => at(-600 + Math.floor(index / 10), `line ${index}`)),
  };
  const all = await runCli(["logs", "qwen", "--since", "10m"], { env: env() });
  expect(all.stdout.match(/line \d+/g)).toEqual(Array.from({ length: 2500 }, (_, index) => `line ${index}`));
  const last = await runCli(["logs", "qwen", "--since", "10m", "-n", "3"], { env: env() });
  expect(last.stdout.match(/line \d+/g)).toEqual(["line 2497", "line 2498", "line 2499"]);
});

test("-f goes on, without losing or repeating lines, until Ctrl-C", async () => {
  log = { one: [at(-1, "first")] };
  const { code, stdout } = await runCli(["logs", "qwen", "-f"], {
    env: env(),
    onWait: (count, keys) => {
      if (count === 1) log.one?.push(at(1, "second"), at(1, "third"));
      if (count === 2) log.one?.push(at(1, "fourth"));
      if (count === 3) log.two = [at(0, "from another")];
      if (count === 5) keys.interrupt();
    },
  });
  expect(code).toBe(130);
  expect(stdout.match(/(first|second|third|fourth|from another)/g)).toEqual([
    "first",
    "second",
    "third",
    "fourth",
    "from another",
  ]);
});

test("-f outlives a restart of Berth", async () => {
  log = { one: [at(-1, "first")] };
  const { stdout, stderr } = await runCli(["logs", "qwen", "-f"], {
    env: env(),
    onWait: (count, keys) => {
      if (count === 1) isAway = true;
      if (count === 3) {
        isAway = false;
        log.one?.push(at(1, "second"));
      }
      if (count === 4) keys.interrupt();
    },
  });
  expect(stdout.match(/first|second/g)).toEqual(["first", "second"]);
  expect(stderr).toContain("Berth does not answer; trying again.");
});

test("a deployment that wrote nothing says so", async () => {
  const { code, stdout, stderr } = await runCli(["logs", "qwen"], { env: env() });
  expect([code, stdout]).toEqual([0, ""]);
  expect(stderr).toContain("ann/qwen has written nothing");
});

test("--json is one object a line", async () => {
  log = { one: [at(-1, "ready \u009b2J")] };
  const { stdout } = await runCli(["logs", "qwen", "--json"], { env: env() });
  expect(stdout).not.toContain("\u009b");
  expect(JSON.parse(stdout)).toEqual({
    time: `${startS - 1}.250000000`,
    instance: "one",
    line: "ready \u009b2J",
  });
});
