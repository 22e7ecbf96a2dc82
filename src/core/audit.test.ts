import { expect, test } from "vitest";
import { targetOf } from "./audit.ts";

test("a target is what path and answer name, never a secret", () => {
  const secret = "berth_secret";
  expect(targetOf({ deploy_id: "d1" }, { deploy_id: "d1" })).toEqual({ deploy_id: "d1" });
  expect(targetOf({ api_token: secret }, {})).toEqual({});
  expect(targetOf({}, { token: secret, token_id: "t1", name: "ci" })).toEqual({ token_id: "t1", name: "ci" });
  expect(targetOf({ name: "bob" }, { name: 7 })).toEqual({ name: "bob" });
  expect(targetOf(undefined, null)).toEqual({});
  expect(targetOf({ name: "x".repeat(1000) }, [])).toEqual({ name: "x".repeat(256) });
});
