/** The storm in small; `npm run chaos:streams` is the large one. */
import { expect, test } from "vitest";
import { runStorm } from "./storm.ts";

test("streams while engines are killed: nothing is lost, repeated or miscounted", async () => {
  const lines: string[] = [];
  const report = await runStorm({
    ...{ seed: 7, streams: 24, length: 1, instances: 2, maxKills: 3, pauseMs: [100, 400] },
    log: (line) => lines.push(line),
  });
  expect([report.violations, lines]).toEqual([[], lines]);
  expect(report.streams).toBe(24);
  expect(report.kills).toBeGreaterThan(0);
}, 600_000);
