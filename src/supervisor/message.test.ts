import { expect, it } from "vitest";
import { parseChildMessage } from "./message.ts";

it("takes the messages of the list and nothing else", () => {
  expect(parseChildMessage({ type: "down", more: 1 })).toEqual({ type: "down" });
  expect(parseChildMessage({ type: "ready" })).toEqual({ type: "ready", details: {} });
  expect(parseChildMessage({ type: "ready", details: { address: "http://h", port: 1 } })).toEqual({
    type: "ready",
    details: { address: "http://h" },
  });
  for (const value of [null, 1, "down", {}, { type: "up" }, { type: "ready", details: 3 }]) {
    expect(parseChildMessage(value)).toBe(null);
  }
});
