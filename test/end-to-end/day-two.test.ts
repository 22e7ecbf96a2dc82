/**
 * What an operator does on the second day: the service is restarted as systemd does it by the unit that Berth ships, its
 * state is backed up while it runs and restored elsewhere, and a state that a newer Berth wrote is left alone.
 */
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore } from "../../src/store/store.ts";
import { type Berth, startBerth, untilStatus } from "../harness/berth.ts";

const root = new URL("../..", import.meta.url).pathname;
const home = mkdtempSync(join(tmpdir(), "berth-day-two-"));
const env = { BERTH_STARTER: "off", BERTH_DRAIN_S: "5" };
let berth: Berth;
let id = "";

beforeAll(async () => {
  berth = await startBerth({ env, home });
  const { body } = await berth.call("POST", "/deploy/llm", {
    ...{ model_name: "m", gpu: "other", hf: { repo: "berth/starter" } },
    settings: { min_instances: 1, max_instances: 1 },
  });
  id = body.deploy_id;
  await untilStatus(berth, id, "running");
});
afterAll(async () => {
  await berth?.end();
  rmSync(home, { recursive: true, force: true });
});

/** Runs the command line on a home; nothing of this environment's settings goes with it. */
async function cli(of: string, ...args: string[]) {
  const { PATH = "", NODE_COMPILE_CACHE = "" } = process.env;
  const run = promisify(execFile)(process.execPath, [join(root, "src/main.ts"), ...args], {
    env: { PATH, NODE_COMPILE_CACHE, HOME: of, BERTH_HOME: of },
  });
  return await run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
}

test("a restart as systemd does it, by the unit that is shipped, leaves the engines to the next start", async () => {
  const unit = readFileSync(join(root, "packaging/systemd/berth.service"), "utf8");
  // What the rest of this test does is what this line makes systemd do: SIGTERM to the main process and to no other.
  expect(unit).toMatch(/^KillMode=process$/m);
  expect(unit).toMatch(/^ExecStart=\/usr\/bin\/env node \/opt\/berth\/bin\/berth\.js serve$/m);
  const before = berth.pids("engine");
  expect(before).toHaveLength(1);
  const ended = new Promise((resolve) => berth.process.once("exit", resolve));
  berth.process.kill("SIGTERM");
  expect(await ended).toBe(0);
  expect(berth.pids("engine")).toEqual(before);
  berth = await startBerth({ env, home });
  await untilStatus(berth, id, "running");
  expect(berth.pids("engine")).toEqual(before);
});

test("a backup of a running Berth, restored elsewhere, brings its deployments back; without its key it is refused", async () => {
  const file = join(home, "backup.jsonl");
  const made = await cli(home, "backup", file);
  expect(made.stdout).toMatch(/Keep .*secret\.key too, and elsewhere/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).not.toContain(readFileSync(join(home, "secret.key"), "utf8").trim());
  const running = await cli(home, "restore", file);
  expect(running.code).not.toBe(0);
  expect(running.stderr).toMatch(/Berth runs on .* Stop it before a restore/);

  const other = mkdtempSync(join(tmpdir(), "berth-day-two-"));
  const refused = await cli(other, "restore", file);
  expect(refused.stderr).toMatch(/sealed with the key [0-9a-f]{8}, but this installation has none/);
  copyFileSync(join(home, "secret.key"), join(other, "secret.key"));
  expect((await cli(other, "restore", file)).code).toBe(0);
  const restored = await startBerth({ env, home: other });
  try {
    expect(await restored.listIds()).toEqual([id]);
    await untilStatus(restored, id, "running");
  } finally {
    await restored.end();
    rmSync(other, { recursive: true });
  }
});

test("why a deployment runs is told from the events that led to it", async () => {
  const { raw } = await berth.call("GET", `/deploy/${id}/why`);
  expect(raw).toMatchObject({
    status: "running",
    facts: [expect.stringContaining("1 instance answers"), expect.anything()],
  });
  const codes = (raw as { chain: { code: string }[] }).chain.map(({ code }) => code);
  expect(codes.slice(0, 2)).toEqual(["accepted", "resolved"]);
  const stranger = await berth.call("GET", `/deploy/${id}/why`, undefined, null);
  expect(stranger.status).toBe(401);
});

test("a state that a newer Berth wrote is refused in words, and not one byte of it is changed", async () => {
  const other = mkdtempSync(join(tmpdir(), "berth-day-two-"));
  const store = await openStore({ home: other, databaseUrl: null });
  await store.close();
  const file = join(other, "berth.db");
  const db = new DatabaseSync(file);
  db.exec("update berth_schema set version = 999; pragma wal_checkpoint(truncate)");
  db.close();
  const before = readFileSync(file);
  const started = await cli(other, "serve", "--port", "0");
  expect(started.code).toBe(78);
  expect(started.stderr).toMatch(/written by a newer Berth \(state version 999.*left untouched/);
  expect(readFileSync(file).equals(before)).toBe(true);
  rmSync(other, { recursive: true });
});
