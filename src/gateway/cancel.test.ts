import { expect, test } from "vitest";
import { Cancel } from "./cancel.ts";

test("those who listen are told once, with the first reason; who has stopped listening is not", () => {
  const cancel = new Cancel();
  const told: string[] = [];
  const left = () => told.push("left");
  cancel.addEventListener("abort", left);
  cancel.addEventListener("abort", () => {
    // Taking away a listener while they are told must not pass over another.
    cancel.removeEventListener("abort", left);
    told.push(String(cancel.reason));
  });
  cancel.addEventListener("abort", () => told.push("last"));
  cancel.removeEventListener("abort", left);
  cancel.throwIfAborted();
  cancel.abort(new Error("first"));
  cancel.abort(new Error("second"));
  cancel.addEventListener("abort", left);
  expect(told).toEqual(["Error: first", "last"]);
  expect(() => cancel.throwIfAborted()).toThrow("first");
});
