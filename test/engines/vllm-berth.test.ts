/**
 * A real Berth with a real vLLM: deployed, asked, killed, there again, ended, and nothing of it left at any of its ends. Only where
 * BERTH_TEST_VLLM names it, as it takes minutes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { copyFile, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Berth, startBerth, token, until } from "../harness/berth.ts";
import { findHolders } from "../harness/holders.ts";
import { starterFolder } from "./contract.ts";

const environment = process.env.BERTH_TEST_VLLM;
const patienceMs = 900_000;

describe.runIf(environment !== undefined)("a Berth with vLLM", { timeout: 3 * patienceMs }, () => {
  test("deploys safetensors, streams a chat, starts a killed engine again, and leaves nothing of it", async () => {
    const models = mkdtempSync(join(tmpdir(), "berth-safetensors-"));
    for (const name of await readdir(starterFolder)) {
      if (!name.endsWith(".gguf")) await copyFile(join(starterFolder, name), join(models, name));
    }
    const berth = await startBerth({
      env: {
        ...{ BERTH_STARTER: "off", BERTH_VLLM: environment ?? "", BERTH_LOAD_S: String(patienceMs / 1000) },
        ...{ BERTH_LOCAL_ROOTS: models, BERTH_WAIT_S: String(patienceMs / 1000) },
      },
    });
    /** The engine's processes, by the log that they print to. */
    const engineProcesses = () => findHolders(join(berth.home, "logs"));
    const untilGone = (pids: readonly number[]) =>
      until("every process of it to be gone", () => !engineProcesses().some(({ pid }) => pids.includes(pid)));
    try {
      const { body } = await berth.call("POST", "/deploy/llm", {
        ...{ model_name: "safe", gpu: "other", max_batch_size: 2, hf: { repo: `file://${models}` } },
        standard_args: { max_context_size: 256 },
      });
      await untilServing(berth, body.deploy_id);
      expect(await streamChat(berth.url)).toMatch(/\w/);

      // An engine's crash: its first process is killed, the others are not told.
      const first = engineProcesses();
      expect(first.map(({ name }) => name)).toContain("VLLM::EngineCor");
      for (const pid of berth.pids("engine")) process.kill(pid, "SIGKILL");
      await until("the loss to be seen", async () => {
        const { events } = (await berth.call("GET", `/deploy/${body.deploy_id}/events`)).body;
        return events.some(({ code }) => /crash|exited|restart|out_of_memory|lost/.test(code));
      });
      await untilGone(first.map(({ pid }) => pid));
      await untilServing(berth, body.deploy_id);
      expect(await streamChat(berth.url)).toMatch(/\w/);

      // `berth down`, which is this call.
      const second = engineProcesses();
      expect(second.length).toBeGreaterThan(1);
      expect((await berth.call("POST", "/v1/berth/down")).status).toBeLessThan(300);
      await untilGone(second.map(({ pid }) => pid));
    } finally {
      await berth.end();
      rmSync(models, { recursive: true, force: true });
    }
  });
});

async function untilServing(berth: Berth, id: string): Promise<void> {
  await until(
    "a running vLLM",
    async () => {
      const { status, fail_reason, instances } = (await berth.call("GET", `/deploy/${id}`)).body;
      expect(status, fail_reason).not.toBe("failed");
      return instances.running > 0;
    },
    patienceMs,
  );
}

async function streamChat(url: string): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      ...{ model: "safe", stream: true, max_tokens: 8, temperature: 0 },
      messages: [{ role: "user", content: "Hello!" }],
    }),
    signal: AbortSignal.timeout(patienceMs),
  });
  expect(response.status).toBe(200);
  const events = [...(await response.text()).matchAll(/^data: (\{.*)$/gm)].map(
    ([, data = ""]) => JSON.parse(data) as { choices: { delta?: { content?: string } }[] },
  );
  return events.map(({ choices }) => choices[0]?.delta?.content ?? "").join("");
}
