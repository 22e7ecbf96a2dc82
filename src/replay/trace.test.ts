import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readerFor, TraceError } from "./trace.ts";
import { readTrace } from "./trace-file.ts";

const folder = mkdtempSync(join(tmpdir(), "berth-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function read(text: string, model: string | null = null) {
  const path = join(folder, "trace");
  writeFileSync(path, text);
  const found: number[][] = [];
  for await (const { atMs, promptTokens, generatedTokens } of readTrace(path, model))
    found.push([Math.round(atMs), promptTokens, generatedTokens]);
  return found;
}

describe("what a trace may be", () => {
  it("Azure's columns, with Windows' line ends and seven digits of a second", async () => {
    const text =
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n";
    expect(await read(text)).toEqual([
      [0, 374, 44],
      [4315, 396, 109],
    ]);
  });

  it("named columns in any order, and none at all", async () => {
    const named = "\uFEFFgenerated_tokens,time,more,prompt_tokens\n9,10.5,x,100\n\n8,11,y,0\n";
    expect(await read(named)).toEqual([
      [0, 100, 9],
      [500, 1, 8],
    ]);
    expect(await read("0,5,6\n2.25,7,8")).toEqual([
      [0, 5, 6],
      [2250, 7, 8],
    ]);
  });

  it("records of usage, sorted by when they began, without those that no engine saw", async () => {
    const line = (startedAtMs: number, inputTokens: number) =>
      JSON.stringify({ startedAtMs, inputTokens, outputTokens: inputTokens, model: "ann/m", status: 200 });
    expect(await read([line(5000, 2), line(3000, 1), line(4000, 0)].join("\n"))).toEqual([
      [0, 1, 1],
      [2000, 2, 2],
    ]);
  });

  it("a backup of Berth, for one model or all", async () => {
    const details = (model: string) => JSON.stringify({ model, inputTokens: 7, outputTokens: 3 });
    const row = (startedAtMs: number, model: string) =>
      JSON.stringify(["usage_records", { id: "x", started_at_ms: startedAtMs, details: details(model) }]);
    const backup = [
      '{"format":"berth-backup-1","state":9,"key":null,"at_ms":1}',
      '["accounts",{"name":"ann"}]',
      row(1000, "ann/a"),
      row(1500, "ann/b"),
      row(3000, "ann/a"),
      '{"rows":4,"sha256":"0"}',
    ].join("\n");
    expect(await read(backup)).toHaveLength(3);
    expect(await read(backup, "ann/a")).toEqual([
      [0, 7, 3],
      [2000, 7, 3],
    ]);
    await expect(read(backup, "ann/c")).rejects.toThrow("no requests for ann/c");
  });
});

describe("what is wrong with a trace", () => {
  const azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  it.each([
    [`${azure}yesterday,1,2`, 'Line 2 of the trace has the time "yesterday"'],
    [
      `${azure}2023-11-16 18:15:46,1,2\n2023-11-16 18:15:46,many,2`,
      'Line 3 of the trace has "many" for its prompt tokens',
    ],
    [`${azure}2023-11-16 18:15:46,1`, 'Line 2 of the trace has "" for its generated tokens'],
    [`${azure}2023-11-16 18:15:46,1,-4`, 'has "-4"'],
    ["when,how many\n1,2", "Line 1 of the trace names no columns that are known (when, how many)"],
    [
      '{"startedAtMs":1,"inputTokens":1,"outputTokens":1}\n{"startedAtMs":1',
      "Line 2 of the trace is no JSON",
    ],
    [
      '{"startedAtMs":"now","inputTokens":1,"outputTokens":1}',
      "Line 1 of the trace is no record of a request: startedAtMs",
    ],
    [azure, "has no requests in it"],
    ["", "has no requests in it"],
  ])("%j is told with its line", async (text, message) => {
    await expect(read(text)).rejects.toThrow(message);
    await expect(read(text)).rejects.toBeInstanceOf(TraceError);
  });

  it("a file that is not there, a folder, and a model that a CSV cannot name", async () => {
    const first = (path: string) => readTrace(path, null).next();
    await expect(first(join(folder, "none"))).rejects.toThrow("There is no file");
    await expect(first(folder)).rejects.toThrow("is a folder");
    expect(() => readerFor("time,prompt_tokens,generated_tokens", "ann/m")).toThrow("--model");
  });
});
