import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { UsageRecord } from "../core/usage.ts";
import { recordBatch } from "../schema/routing.ts";
import { clientLeftStatus, RequestRecord } from "./record.ts";
import { createSpool, type Spool } from "./spool.ts";
import { openSpoolFolder } from "./spool-folder.ts";
import { usageRecordOf } from "./usage-record.ts";

let dir = "";
let logs: string[] = [];
let aheadMs = 0;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "berth-spool-"));
  logs = [];
  aheadMs = 0;
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
});

function record(id: string): UsageRecord {
  return {
    ...{ id, requestId: `q-${id}`, account: "ann", tokenId: "t1", scopeId: null, deploymentId: "d1" },
    ...{ model: "ann/m", instanceId: "i1", kind: "llm" as const, startedAtMs: 1000, durationMs: 10 },
    ...{ status: 200, error: null, inputTokens: 1, outputTokens: 2, cachedTokens: 0, waitedMs: 0 },
    ...{ ttftMs: 5, costNanoUsd: 0 },
  };
}

function spoolOf(gatewayId: string, more: { maxBytes?: number } = {}): Spool {
  return createSpool({
    gatewayId,
    root: join(dir, "spool"),
    linkSocket: join(dir, "link"),
    maxBytes: 1_000_000,
    clock: {
      now: () => Date.now() + aheadMs,
      sleep: async (ms, signal) => {
        await sleep(Math.min(ms, 20), undefined, { signal });
      },
    },
    log: (level, message, fields) => logs.push(`${level} ${message} ${JSON.stringify(fields)}`),
    ...more,
  });
}

/** A control that keeps what it is sent; `status` is its answer, null leaves without one. */
async function startControl(): Promise<{ ids: string[]; status: number | null; server: Server }> {
  const control = { ids: [] as string[], status: 204 as number | null, server: createServer() };
  control.server.on("request", (request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    request.on("end", () => {
      const batch = recordBatch.safeParse(JSON.parse(text));
      if (!batch.success) return response.writeHead(400).end();
      if (control.status === 204) control.ids.push(...batch.data.records.map(({ id }) => id));
      return control.status === null ? request.socket.destroy() : response.writeHead(control.status).end();
    });
  });
  await once(control.server.listen(join(dir, "link")), "listening");
  onTestFinished(async () => {
    const closed = new Promise((resolve) => control.server.close(resolve));
    control.server.closeAllConnections();
    await closed;
  });
  return control;
}

/** Names of all segments, those of each gateway. */
async function segments(): Promise<string[]> {
  const names = await readdir(join(dir, "spool"), { recursive: true }).catch(() => []);
  return names.filter((name) => /\.(open|ndjson)$/.test(name)).sort();
}

async function untilWritten(lines: number): Promise<void> {
  await eventually(async () => {
    let seen = 0;
    for (const name of await segments())
      seen += (await readFile(join(dir, "spool", name), "utf8")).split("\n").length - 1;
    if (seen !== lines) throw new Error(`${seen} lines are on disk`);
  });
}

test("records reach control, in order, and leave the disk", async () => {
  const control = await startControl();
  const spool = spoolOf("g1");
  spool.start();
  const ids = Array.from({ length: 2500 }, (_, index) => `r${index}`);
  for (const id of ids) spool.add(record(id));
  await eventually(() => expect(control.ids).toHaveLength(2500));
  expect(control.ids).toEqual(ids);
  await eventually(async () => expect(await segments()).toEqual([]));
  await spool.stop();
  expect(await readdir(join(dir, "spool"))).toEqual([]);
});

test("while control is away they wait on disk, for their user alone, and a stop loses none", async () => {
  const spool = spoolOf("g1");
  spool.start();
  for (let index = 0; index < 1200; index += 1) spool.add(record(`r${index}`));
  await untilWritten(1200);
  const [name = ""] = await segments();
  expect((await stat(join(dir, "spool", name))).mode & 0o777).toBe(0o600);
  expect((await stat(join(dir, "spool", "g1"))).mode & 0o777).toBe(0o700);
  spool.add(record("last"));
  await spool.stop();
  expect((await segments()).every((each) => each.endsWith(".ndjson"))).toBe(true);
  await untilWritten(1201);

  const control = await startControl();
  const next = spoolOf("g2");
  aheadMs = 20_000;
  next.start();
  await eventually(() => expect(new Set(control.ids).size).toBe(1201));
  aheadMs = 60_000;
  await eventually(async () => expect(await readdir(join(dir, "spool"))).toEqual([]));
  await next.stop();
});

test("what a killed gateway left open is delivered, but for a line it had no time to end", async () => {
  // It stands for a process that is gone: nothing is asked of it any more.
  const killed = spoolOf("g1");
  killed.add(record("r1"));
  killed.add(record("r2"));
  await untilWritten(2);
  const [name = ""] = await segments();
  await appendFile(join(dir, "spool", name), '{"id":"r3","requ');

  const control = await startControl();
  const next = spoolOf("g2");
  next.start();
  next.add(record("r4"));
  await eventually(() => expect(control.ids).toEqual(["r4"]));
  aheadMs = 60_000;
  await eventually(() => expect(control.ids).toEqual(["r4", "r1", "r2"]));
  await next.stop();
  expect(next.dropped).toBe(0);
});

test("a gateway whose segment was taken over loses nothing of what it writes next", async () => {
  const control = await startControl();
  control.status = 503;
  const slow = spoolOf("g1");
  slow.add(record("r1"));
  await untilWritten(1);
  const [name = ""] = await segments();
  // As another gateway does it that takes this one for dead.
  await rename(join(dir, "spool", name), join(dir, "spool", name.replace("open", "ndjson")));
  slow.add(record("r2"));
  control.status = 204;
  slow.start();
  await eventually(() => expect(new Set(control.ids)).toEqual(new Set(["r1", "r2"])));
  await slow.stop();
});

test.each([503, null])("an answer of %s leaves them on disk, and they are sent again", async (status) => {
  const control = await startControl();
  control.status = status;
  const spool = spoolOf("g1");
  spool.start();
  spool.add(record("r1"));
  await eventually(() => expect(logs.join()).toContain("wait on disk"));
  control.status = 204;
  await eventually(() => expect(control.ids).toEqual(["r1"]));
  await eventually(() => expect(logs.join()).toContain("takes records of usage again"));
  await spool.stop();
});

test("one record that control refuses holds up no other", async () => {
  const control = await startControl();
  const spool = spoolOf("g1");
  spool.add(record("r1"));
  spool.add({ ...record("r2"), status: 0 });
  spool.add(record("r3"));
  spool.start();
  await eventually(() => expect(control.ids).toEqual(["r1", "r3"]));
  await spool.stop();
  expect(spool.dropped).toBe(1);
  expect(logs.join()).toContain("cannot be read");
});

test("a segment of another version is delivered as far as it can be read", async () => {
  const control = await startControl();
  await mkdir(join(dir, "spool", "old"), { recursive: true });
  const lines = ["{}", "nonsense", JSON.stringify(record("r1"))];
  await writeFile(join(dir, "spool", "old", "1.ndjson"), `${lines.join("\n")}\n`);
  aheadMs = 20_000;
  const spool = spoolOf("g1");
  spool.start();
  await eventually(() => expect(control.ids).toEqual(["r1"]));
  await spool.stop();
  expect(spool.dropped).toBe(2);
});

test("does not take all memory while the disk does not keep up, and says what it gave up", async () => {
  const control = await startControl();
  const spool = spoolOf("g1", { maxBytes: 100_000_000 });
  spool.start();
  // Nothing is written before this turn ends.
  for (let n = 0; n < 50_003; n += 1) spool.add(record(String(n)));
  await spool.stop();
  expect(spool.dropped).toBe(3);
  expect(control.ids).toHaveLength(50_000);
  expect(logs).toContainEqual(expect.stringContaining('"records":3,"why":"the disk does not keep up"'));
});

test("beyond the bound the oldest are given up, and the log says so", async () => {
  const spool = spoolOf("g1", { maxBytes: 400_000 });
  spool.start();
  for (let index = 0; index < 5000; index += 1) spool.add(record(`r${index}`));
  await eventually(() => expect(spool.dropped).toBeGreaterThan(0));
  await spool.stop();
  expect(logs.join()).toContain("BERTH_SPOOL_MB");
  const control = await startControl();
  const next = spoolOf("g2");
  aheadMs = 20_000;
  next.start();
  await eventually(() => expect(control.ids.length + spool.dropped).toBe(5000));
  await next.stop();
  expect(control.ids.at(-1)).toBe("r4999");
  expect(control.ids).not.toContain("r0");
});

test("a disk that refuses them keeps no request waiting, and they are written when it takes them again", async () => {
  const control = await startControl();
  // A file where the folder should be: nothing can be written.
  await writeFile(join(dir, "spool"), "");
  const spool = spoolOf("g1");
  spool.add(record("r1"));
  await eventually(() => expect(logs.join()).toContain("stay in memory"));
  await rm(join(dir, "spool"));
  spool.start();
  spool.add(record("r2"));
  await eventually(() => expect(control.ids).toEqual(["r1", "r2"]));
  await spool.stop();
});

test("a request becomes usage once its model is known", () => {
  const open = new RequestRecord({
    ...{
      requestId: "q1",
      method: "POST",
      path: "/v1/chat/completions",
      traceparent: null,
      clientAddress: "::1",
    },
    startedAtMs: 1000.5,
  });
  expect(usageRecordOf(open, "r1")).toBeNull();
  const known = {
    ...open,
    account: "ann",
    tokenId: "t1",
    deploymentId: "d1",
    model: "ann/m",
    kind: "llm" as const,
  };
  expect(usageRecordOf({ ...known, status: clientLeftStatus, durationMs: -5, firstByteMs: 7 }, "r1")).toEqual(
    {
      ...record("r1"),
      ...{ requestId: "q1", instanceId: null, durationMs: 0, ttftMs: 7, status: 499 },
      ...{ inputTokens: 0, outputTokens: 0 },
    },
  );
  for (const gone of [{ account: null }, { deploymentId: null }, { kind: null }])
    expect(usageRecordOf({ ...known, ...gone }, "r1")).toBeNull();
});

test("a folder that is empty for a moment is not taken away from a gateway that lives", async () => {
  const [own, other] = ["a", "b"].map((id) => openSpoolFolder(join(dir, "spool"), id));
  let isOver = false;
  const removing = async () => {
    while (!isOver) await other?.adopt(Date.now());
  };
  const removed = removing();
  for (let round = 0; round < 300; round += 1) {
    const segment = await own?.openSegment();
    await segment?.close();
    for (const closed of (await own?.closed(Date.now())) ?? []) await own?.remove(closed);
  }
  isOver = true;
  await removed;
});
