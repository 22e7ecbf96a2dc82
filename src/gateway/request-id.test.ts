import { expect, test } from "vitest";
import { newRequestId } from "./request-id.ts";

test("ids are 32 hexadecimal digits, and no two are alike, also over the end of a page", () => {
  const ids = Array.from({ length: 1000 }, () => newRequestId());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(ids).size).toBe(ids.length);
});
