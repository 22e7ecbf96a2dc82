/**
 * A gateway that stood still (stopped by a signal here; a machine that sleeps is the same to it): what others did not hear or do
 * meanwhile is not held against them. With one process that is waited for; that the supervisor replaces one that does not
 * come back, and what becomes of the requests then, is gateway-processes.test.ts's.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GatewayProcesses, startGatewayProcesses } from "../harness/gateway-processes.ts";
import { until } from "../harness/until.ts";

/** Each limit is passed several times while it stands still, and by far not while it runs. */
const limitS = 3;
const stoodMs = 3 * limitS * 1000;
/** Of each of the three models. */
const asked = 4;

let berth: GatewayProcesses;
beforeAll(async () => {
  const names = ["QUEUE_WAIT", "FIRST_TOKEN", "SILENCE"].map((name) => [`BERTH_${name}_S`, String(limitS)]);
  // Of a whole request: a little more than all of them together take.
  const env = { ...Object.fromEntries(names), BERTH_TOTAL_S: String(2 * limitS) };
  berth = await startGatewayProcesses(1, 1, { env, hangMs: 60_000 });
});
afterAll(async () => await berth?.end());

function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0] ?? "";
}

test("nobody is refused or cut for time in which the gateway itself stood still, and it is not replaced", async () => {
  const outcomes = Array.from({ length: 3 * asked }, (_, at) => berth.ask({ deployment: at % 3 }));
  await until("a stream of each model and a line behind it", () =>
    berth.engines.every(({ busy }) => busy === 1) && berth.load().queued >= 3 ? true : null,
  );
  const [pid = 0] = berth.pids();
  process.kill(pid, "SIGSTOP");
  const stoppedAtMs = performance.now();
  await until("it to stand still", () => stateOf(pid) === "T");
  await until("every limit to have passed", () => performance.now() - stoppedAtMs > stoodMs);
  expect(stateOf(pid)).toBe("T");
  process.kill(pid, "SIGCONT");
  expect(await Promise.all(outcomes)).toEqual(outcomes.map(() => ({ status: 200, isWhole: true })));
  expect(berth.pids()).toEqual([pid]);
  await berth.idle();
});
