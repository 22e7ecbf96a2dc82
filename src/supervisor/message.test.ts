import { expect, it } from "vitest";
import { parseChildMessage, parseSupervisorMessage } from "./message.ts";

it("takes the messages of the list and nothing else", () => {
  expect(parseChildMessage({ type: "down", more: 1 })).toEqual({ type: "down" });
  expect(parseChildMessage({ type: "ready" })).toEqual({ type: "ready", details: {} });
  expect(parseChildMessage({ type: "ready", details: { address: "http://h", port: 1 } })).toEqual({
    type: "ready",
    details: { address: "http://h" },
  });
  expect(parseChildMessage({ type: "takeover", path: "/p" })).toEqual({ type: "takeover", path: "/p" });
  expect(parseSupervisorMessage({ type: "alone" })).toEqual({ type: "alone" });
  expect(parseSupervisorMessage({ type: "hand over", path: "/p" })).toEqual({
    type: "hand over",
    path: "/p",
  });
  for (const value of [null, "alone", {}, { type: "hand over" }, { type: "ready" }]) {
    expect(parseSupervisorMessage(value)).toBe(null);
  }
  for (const value of [
    null,
    1,
    "down",
    { type: "takeover" },
    {},
    { type: "up" },
    { type: "ready", details: 3 },
  ]) {
    expect(parseChildMessage(value)).toBe(null);
  }
});
