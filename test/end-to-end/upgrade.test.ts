/**
 * Berth is given other code while it serves: a newer version whose state has one step more, then the old one again, which
 * cannot read that state and says so. Clients that never try again notice neither. The versions are copies of this code in one
 * folder, exchanged as an installer does it, and what is renewed is renewed by the signal that operators send.
 */
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stateVersion } from "../../src/store/migrations.ts";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";

const root = new URL("../..", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "berth-upgrade-"));
const [code, home] = [join(folder, "code"), join(folder, "home")];
let berth: Berth;

/** A copy of the code that Berth runs from. */
function copyCode(to: string): void {
  for (const part of ["src", "bin", "package.json"])
    cpSync(join(root, part), join(to, part), { recursive: true });
  for (const part of ["node_modules", "starter"]) symlinkSync(join(root, part), join(to, part));
}

function edit(file: string, from: RegExp, to: string): void {
  const before = readFileSync(file, "utf8");
  const after = before.replace(from, to);
  if (after === before) throw new Error(`${file} has nothing like ${from}`);
  writeFileSync(file, after);
}

/** The next version: another number, and a step more of the state. */
function makeNext(at: string): void {
  copyCode(at);
  edit(join(at, "package.json"), /"version": ".*?"/, '"version": "99.0.0"');
  const step =
    "  async (db) => void (await sql`create table of_the_next_version (id text)`.execute(db)),\n];";
  edit(join(at, "src/store/migrations.ts"), /(?<=const migrations[^;]*)\];/, step);
}

/** What is in place goes to `to`, and `from` takes its place. */
function exchange(from: string, to: string): void {
  renameSync(code, join(folder, to));
  renameSync(join(folder, from), code);
}

beforeAll(async () => {
  copyCode(code);
  makeNext(join(folder, "next"));
  // An engine that is shut in would not see the packages, which are not copied.
  const env = { BERTH_STARTER: "off", BERTH_CPU_CONTEXT_MB: "64", BERTH_ISOLATION: "off" };
  const compiled = { NODE_COMPILE_CACHE: join(folder, "compiled") };
  berth = await startBerth({ env: { ...env, ...compiled }, home, code });
  const { body } = await berth.call("POST", "/deploy/llm", {
    ...{ model_name: "mine", gpu: "other", max_batch_size: 2, hf: { repo: "berth/starter" } },
    settings: { min_instances: 1, max_instances: 1 },
  });
  await untilStatus(berth, body.deploy_id, "running");
});
afterAll(async () => {
  await berth?.end();
  rmSync(folder, { recursive: true, force: true });
});

async function ask(stream: boolean): Promise<string> {
  const body = {
    model: "mine",
    stream,
    max_tokens: 30,
    messages: [{ role: "user", content: "Tell me a story." }],
  };
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  const isWhole = stream ? text.endsWith("data: [DONE]\n\n") : text.includes('"finish_reason"');
  return response.status === 200 && isWhole && !text.includes('"error"')
    ? "whole"
    : `${response.status} ${text}`;
}

const versionOf = async () =>
  ((await berth.call("GET", "/openapi.json")).raw as { info?: { version: string } }).info?.version;
const stateNow = () => {
  const db = new DatabaseSync(join(home, "berth.db"), { readOnly: true });
  const row = db.prepare("select version from berth_schema").get();
  db.close();
  return row?.version;
};

test("a newer version and back under load: no request fails, and what the old one cannot read it refuses", async () => {
  let isOver = false;
  const outcomes: string[] = [];
  const client = async (stream: boolean) => {
    while (!isOver)
      outcomes.push(await ask(stream).catch((error: unknown) => String((error as Error).cause ?? error)));
  };
  const load = Promise.all([client(true), client(false)]);
  const answered = async (more: number) => {
    const due = outcomes.length + more;
    await until("more answers", () => outcomes.length >= due);
  };
  const engines = berth.pids("engine");
  const [gateway] = berth.pids("gateway");
  await answered(2);
  expect(stateNow()).toBe(stateVersion);

  exchange("next", "first");
  berth.process.kill("SIGUSR2");
  const [renewed] = await until("another gateway alone", () => {
    const now = berth.pids("gateway");
    return now.length === 1 && now[0] !== gateway && now;
  });
  await until("the newer version to answer", async () => (await versionOf()) === "99.0.0");
  expect(stateNow()).toBe(stateVersion + 1);
  await answered(2);

  exchange("first", "next");
  berth.process.kill("SIGUSR2");
  await until("the refusal", () =>
    berth.output().includes(`written by a newer Berth (state version ${stateVersion + 1}`),
  );
  await answered(2);
  expect((await berth.call("GET", "/deploy/list")).status).toBe(503);
  expect(berth.pids("gateway")).toEqual([renewed]);
  expect(stateNow()).toBe(stateVersion + 1);

  // The newer one again: control comes back by itself.
  exchange("next", "first");
  await until("the newer version to answer", async () => (await versionOf()) === "99.0.0");
  await answered(2);
  isOver = true;
  await load;
  expect(outcomes.filter((outcome) => outcome !== "whole")).toEqual([]);
  expect(berth.pids("engine")).toEqual(engines);
}, 180_000);
