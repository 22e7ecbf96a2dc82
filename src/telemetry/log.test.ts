import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { createLog } from "./log.ts";

function openLog(isTerminal = false) {
  const writes: string[] = [];
  const log = createLog({ role: "gateway", level: "info", isTerminal, write: (lines) => writes.push(lines) });
  return { log, writes };
}

test("lines that report nothing wrong are written together, in order", async () => {
  const { log, writes } = openLog();
  for (const text of ["one", "two", "three"]) log("info", text);
  log("debug", "not at this level");
  expect(writes).toEqual([]);
  await eventually(() => expect(writes).toHaveLength(1));
  const entries = (writes[0] ?? "").trimEnd().split("\n");
  expect(entries.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(["one", "two", "three"]);
});

test("a warning is written at once, behind what came before it", () => {
  const { log, writes } = openLog(true);
  log("info", "one");
  log("warn", "two", { error: "why" });
  expect(writes.join("")).toMatch(/^\S+ gateway {2}one\n\S+ gateway {2}warning: two \(why\)\n$/);
});

test("fields that could carry a secret are masked, also within a field; what was given is not changed", () => {
  const { log, writes } = openLog();
  const fields = {
    token: "t",
    headers: { authorization: "a", host: "h", deep: { secret: "s" } },
    list: ["token"],
  };
  const before = structuredClone(fields);
  log("error", "text", fields);
  expect(fields).toEqual(before);
  expect(JSON.parse(writes[0] ?? "")).toMatchObject({
    role: "gateway",
    token: "(hidden)",
    headers: { authorization: "(hidden)", host: "h", deep: { secret: "s" } },
    list: ["token"],
  });
});
