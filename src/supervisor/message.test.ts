import { expect, it } from "vitest";
import { parseChildMessage, parseSupervisorMessage } from "./message.ts";

it("takes the messages of the list and nothing else", () => {
  expect(parseChildMessage({ type: "down", more: 1 })).toEqual({ type: "down" });
  expect(parseChildMessage({ type: "renew" })).toEqual({ type: "renew" });
  expect(parseChildMessage({ type: "alive" })).toEqual({ type: "alive" });
  expect(parseChildMessage({ type: "ready" })).toEqual({ type: "ready", details: {} });
  expect(parseChildMessage({ type: "ready", details: { address: "http://h", port: 1 } })).toEqual({
    type: "ready",
    details: { address: "http://h" },
  });
  expect(parseChildMessage({ type: "join", path: "/p" })).toEqual({ type: "join", path: "/p" });
  expect(parseChildMessage({ type: "entered", version: 3 })).toEqual({ type: "entered", version: 3 });
  for (const value of [
    null,
    1,
    "down",
    {},
    { type: "up" },
    { type: "join" },
    { type: "entered" },
    { type: "ready", details: 3 },
  ]) {
    expect(parseChildMessage(value)).toBe(null);
  }
});

it("takes what a supervisor says and nothing else", () => {
  expect(parseSupervisorMessage({ type: "end", hasSuccessor: true })).toEqual({
    type: "end",
    hasSuccessor: true,
  });
  expect(parseSupervisorMessage({ type: "end" })).toEqual({ type: "end", hasSuccessor: false });
  const processes = [{ id: "1", seat: 0, path: "/p" }];
  const said = { type: "view", view: { version: 2, processes } };
  expect(parseSupervisorMessage(said)).toEqual(said);
  expect(parseSupervisorMessage({ type: "ask" })).toEqual({ type: "ask" });
  const told = { type: "restarts", restarts: [{ role: "control", atMs: 5, reason: "it hung" }] };
  expect(parseSupervisorMessage(told)).toEqual(told);
  for (const value of [
    ...[null, 1, "end", {}, { type: "view" }, { type: "renew" }],
    { type: "view", view: { version: 2 } },
    { type: "restarts", restarts: [{ role: "control" }] },
    { type: "view", view: { version: 2, processes: [{ id: "1", seat: "0", path: "/p" }] } },
  ])
    expect(parseSupervisorMessage(value)).toBe(null);
});
