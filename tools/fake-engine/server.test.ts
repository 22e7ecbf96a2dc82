import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";

const program = fileURLToPath(new URL("./server.ts", import.meta.url));

async function start(...args: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [program, "--port", "0", "--secret", "s", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { child, url: `http://127.0.0.1:${line.split(" ").at(-1)}` };
}

const headers = { authorization: "Bearer s" };

test("while it loads it says how far it is", async () => {
  const { url } = await start("--load-ms", "100000000");
  const loading = await fetch(`${url}/health`, { headers });
  expect([loading.status, await loading.json()]).toEqual([
    503,
    { state: "loading", progress: expect.any(Number) },
  ]);
});

test("is ready, answers, and ends on SIGTERM", async () => {
  const { child, url } = await start("--slots", "3", "--load-ms", "1", "--tokens", "2");
  await eventually(async () => {
    const ready = await fetch(`${url}/health`, { headers });
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { state: "ready", slots: 3, contextTokens: 2048, note: null },
    ]);
  });
  expect((await fetch(`${url}/health`)).status).toBe(401);
  const body = JSON.stringify({ model: "m", messages: [], stream: true });
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  expect(await response.text()).toMatch(/"finish_reason":"length".*"usage".*\n\ndata: \[DONE\]\n\n$/);
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("a fault by name, and what is not known is refused", async () => {
  const { url } = await start("--fault", "die-after:1");
  const body = JSON.stringify({ model: "m", messages: [], stream: true });
  await expect(
    fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body }).then((response) =>
      response.text(),
    ),
  ).rejects.toThrow();
  for (const args of [
    ["--fault", "no-such"],
    ["--slots", "x"],
    ["--socket", "/tmp/x"],
  ]) {
    const child = spawn(process.execPath, [program, "--port", "0", ...args], { stdio: "ignore" });
    expect(await once(child, "exit")).toEqual([2, null]);
  }
});
