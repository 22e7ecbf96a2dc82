import { expect, test } from "vitest";
import { ServiceRate } from "./service-rate.ts";

test("says nothing before it has seen enough, then what the line will take", () => {
  const rate = new ServiceRate();
  expect([rate.serviceMs, rate.waitMs(3, 2)]).toEqual([null, null]);
  for (let i = 0; i < 5; i += 1) rate.noteService(1000);
  expect(rate.waitMs(3, 2)).toBe(2000);
  expect(rate.waitMs(3, 0)).toBeNull();
});

test("follows a change within some dozens of requests", () => {
  const rate = new ServiceRate();
  for (let i = 0; i < 100; i += 1) rate.noteService(1000);
  for (let i = 0; i < 150; i += 1) rate.noteService(200);
  expect(rate.serviceMs).toBeGreaterThan(199);
  expect(rate.serviceMs).toBeLessThan(210);
  for (let i = 0; i < 150; i += 1) rate.noteOutput(30);
  expect(Math.round(rate.outputTokens)).toBe(30);
});
