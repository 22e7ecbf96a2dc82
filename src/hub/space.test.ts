import { expect, test } from "vitest";
import { createSpaceLedger } from "./space.ts";

test("what one download was promised is not there for another", () => {
  const ledger = createSpaceLedger();
  const release = ledger.claim(new Map([["a", 100]]));
  expect(ledger.promisedToOthers(["b"])).toBe(100);
  ledger.update("a", 40);
  expect(ledger.promisedToOthers(["b"])).toBe(40);
  release();
  release();
  expect(ledger.promisedToOthers(["b"])).toBe(0);
});

test("the same file wanted twice needs its room once, until the last one has left", () => {
  const ledger = createSpaceLedger();
  const first = ledger.claim(new Map([["a", 100]]));
  ledger.update("a", 70);
  const second = ledger.claim(new Map([["a", 100]]));
  expect(ledger.promisedToOthers(["a"])).toBe(0);
  expect(ledger.promisedToOthers([])).toBe(70);
  first();
  expect(ledger.promisedToOthers([])).toBe(70);
  second();
  expect(ledger.promisedToOthers([])).toBe(0);
});
