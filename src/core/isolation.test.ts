import { expect, test } from "vitest";
import { refuseNeighbour } from "./isolation.ts";

const none = { isIsolated: false, reason: "there is no lock", next: "Get one." } as const;

test("accounts share a machine where engines are isolated, or where that is accepted", () => {
  expect(refuseNeighbour({ isIsolated: true }, "ann", ["bob"], false)).toBeNull();
  expect(refuseNeighbour(none, "ann", ["bob"], true)).toBeNull();
});

test("else one account has it for itself, however its name is written", () => {
  expect(refuseNeighbour(none, "ann", [], false)).toBeNull();
  expect(refuseNeighbour(none, "Ann", ["ann", "ANN", "berth"], false)).toBeNull();
  expect(refuseNeighbour(none, "ann", ["ann", "bob"], false)).toMatch(/there is no lock\. Get one\./);
});
