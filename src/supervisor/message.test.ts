import { expect, it } from "vitest";
import { parseChildMessage, parseSupervisorMessage } from "./message.ts";

it("takes the messages of the list and nothing else", () => {
  expect(parseChildMessage({ type: "down", more: 1 })).toEqual({ type: "down" });
  expect(parseChildMessage({ type: "renew" })).toEqual({ type: "renew" });
  expect(parseChildMessage({ type: "ready" })).toEqual({ type: "ready", details: {} });
  expect(parseChildMessage({ type: "ready", details: { address: "http://h", port: 1 } })).toEqual({
    type: "ready",
    details: { address: "http://h" },
  });
  for (const value of [null, 1, "down", {}, { type: "up" }, { type: "ready", details: 3 }]) {
    expect(parseChildMessage(value)).toBe(null);
  }
});

it("takes what a supervisor says and nothing else", () => {
  expect(parseSupervisorMessage({ type: "end", hasSuccessor: true })).toEqual({
    type: "end",
    hasSuccessor: true,
  });
  expect(parseSupervisorMessage({ type: "end" })).toEqual({ type: "end", hasSuccessor: false });
  for (const value of [null, 1, "end", {}, { type: "renew" }])
    expect(parseSupervisorMessage(value)).toBe(null);
});
