/**
 * Invariants 6, 7 and 8: kill -9 of control, of the gateway and of an engine, during a stream and during a download, and
 * control and the gateway stopped for good; and an engine that has grown is replaced without any of that.
 * Berth returns by itself, loses no deployment, orphans no process, and adopts running engines instead of restarting.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { isAlive } from "../harness/alive.ts";
import { type Berth, isReady, startBerth, token, until, untilStatus } from "../harness/berth.ts";
import { startTestHub, type TestHub } from "../harness/weights.ts";

let hub: TestHub;
let berth: Berth;
let id = "";
beforeAll(async () => {
  hub = await startTestHub();
  berth = await startBerth({ env: { HF_ENDPOINT: hub.url, BERTH_STARTER: "off", BERTH_HANG_S: "3" } });
  const { body } = await berth.call("POST", "/deploy/llm", {
    model_name: "m",
    gpu: "other",
    max_batch_size: 4,
    hf: { repo: "acme/tiny" },
  });
  id = body.deploy_id;
  await untilStatus(berth, id, "running");
});
afterAll(async () => {
  await berth?.end();
  await hub?.end();
});
afterEach(() => hub.setFaults([]));

const client = () => new OpenAI({ apiKey: token, baseURL: `${berth.url}/v1`, maxRetries: 0 });
/** Long enough to still run while something is killed: the model may not end its turn. */
const longStory = {
  model: "m",
  messages: [{ role: "user" as const, content: "Tell me a story about a fox." }],
  max_tokens: 600,
  temperature: 0,
  ignore_eos: true,
};

async function openStream() {
  const stream = await client().chat.completions.create({ ...longStory, stream: true });
  const chunks = stream[Symbol.asyncIterator]();
  let text = (await chunks.next()).value?.choices[0]?.delta.content ?? "";
  let usage: OpenAI.CompletionUsage | null = null;
  return {
    /** The finish reason. */
    async toEnd(): Promise<string> {
      let finish = "";
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
        const [choice] = next.value.choices;
        text += choice?.delta.content ?? "";
        finish = choice?.finish_reason ?? finish;
        usage = next.value.usage ?? usage;
      }
      return finish;
    },
    /** What has come so far. */
    seen: () => ({ text, tokens: [usage?.prompt_tokens, usage?.completion_tokens] }),
  };
}

async function answers(): Promise<boolean> {
  try {
    const { status } = await berth.call("POST", "/v1/chat/completions", {
      model: "m",
      messages: [{ role: "user", content: "Hi" }],
    });
    return status === 200;
  } catch {
    return false; // nobody listens just now
  }
}

function killRole(role: "control" | "gateway" | "engine", signal: "SIGKILL" | "SIGSTOP" = "SIGKILL"): number {
  const [pid, ...more] = berth.pids(role);
  expect(more).toEqual([]);
  if (pid === undefined) throw new Error(`no ${role} runs`);
  process.kill(pid, signal);
  return pid;
}

describe("during a stream", () => {
  it("control dies: the stream goes on, the engine is adopted, the API comes back", async () => {
    const [engine] = berth.pids("engine");
    const stream = await openStream();
    const killed = killRole("control");
    expect(await stream.toEnd()).toBe("length");
    await until("another control", () => berth.pids("control").some((pid) => pid !== killed));
    const found = await until("the API", async () => {
      const { status, body } = await berth.call("GET", `/deploy/${id}`);
      return status === 200 && body;
    });
    expect(found).toMatchObject({ status: "running", instances: { running: 1, pending: 0 } });
    expect(berth.pids("engine")).toEqual([engine]);
  });

  it("the gateway dies: it comes back on the same port, the engine is not touched", async () => {
    const [engine] = berth.pids("engine");
    const stream = await openStream();
    const ended = stream.toEnd().catch((error: unknown) => error);
    killRole("gateway");
    expect(await ended).toBeInstanceOf(Error);
    await until("the gateway", () => isReady(berth.url));
    expect(await answers()).toBe(true);
    expect(berth.pids("engine")).toEqual([engine]);
    expect((await berth.call("GET", `/deploy/${id}`)).body.status).toBe("running");
  });

  it("the engine dies: another engine takes over and goes on with the stream", async () => {
    const undisturbed = await openStream();
    expect(await undisturbed.toEnd()).toBe("length");
    const stream = await openStream();
    const killed = killRole("engine");
    expect(await stream.toEnd()).toBe("length");
    expect(stream.seen()).toEqual(undisturbed.seen());
    expect(stream.seen().tokens[1]).toBe(600);
    await until("an answer", answers);
    const engines = berth.pids("engine");
    expect(engines).toHaveLength(1);
    expect(engines).not.toContain(killed);
    const { body } = await berth.call("GET", `/deploy/${id}/events`);
    expect(body.events.map((event: { code: string }) => event.code)).toContain("engine_crashed");
  });

  it("requests sent while the engine is away wait and are answered", async () => {
    killRole("engine");
    const all = await Promise.all(Array.from({ length: 6 }, () => answers()));
    // The one or two that were on their way to the dead process may fail; none that came later does.
    expect(all.filter(Boolean).length).toBeGreaterThanOrEqual(4);
    await untilStatus(berth, id, "running");
  });
});

/** Why a process was started again, as an administrator is told. */
async function lastRestart(): Promise<unknown> {
  const { raw } = await berth.call("GET", "/v1/berth/info");
  return (raw as { restarts: readonly unknown[] }).restarts.at(-1);
}

/** As if the engine served for an hour and had nearly reached its limit: what control keeps of it says so when it comes back. */
function ageEngine(): void {
  const folder = join(berth.home, "instances");
  const file = readdirSync(folder)
    .map((instance) => join(folder, instance, "record.json"))
    .find((path) => JSON.parse(readFileSync(path, "utf8")).process?.pid === berth.pids("engine")[0]);
  if (file === undefined) throw new Error("there is no record of the engine");
  const record = JSON.parse(readFileSync(file, "utf8"));
  record.ready.atMs -= 3_600_000;
  const status = readFileSync(`/proc/${record.process.pid}/status`, "utf8");
  record.memoryBytes = Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  writeFileSync(file, JSON.stringify(record));
}

describe("growing", () => {
  it.runIf(process.platform === "linux")(
    "an engine is replaced when it has nothing to do: no request fails, and the event says why",
    async () => {
      const [old] = berth.pids("engine");
      const control = killRole("control", "SIGSTOP");
      ageEngine();
      process.kill(control, "SIGKILL");
      await until("another control", () => berth.pids("control").some((pid) => pid !== control));
      const outcomes: boolean[] = [];
      await until("another engine alone", async () => {
        outcomes.push(await answers());
        const engines = berth.pids("engine");
        return engines.length === 1 && engines[0] !== old;
      });
      outcomes.push(await answers());
      expect(outcomes).not.toContain(false);
      const { body } = await berth.call("GET", `/deploy/${id}/events`);
      expect(body.events.map(({ text }) => text).join()).toMatch(/it has grown to \d+ of the \d+ MiB/);
    },
  );
});

describe("hanging", () => {
  const reason = "gave no sign of life for 3 s and was killed";

  it("control is replaced: a stream goes on, the engine is adopted, and who asks is told why", async () => {
    const [engine] = berth.pids("engine");
    const stream = await openStream();
    const stopped = killRole("control", "SIGSTOP");
    expect(await stream.toEnd()).toBe("length");
    await until("another control", () => berth.pids("control").some((pid) => pid !== stopped));
    await untilStatus(berth, id, "running");
    expect(berth.pids("engine")).toEqual([engine]);
    expect(await lastRestart()).toMatchObject({ process: "control", reason });
  });

  it("the gateway is replaced: who waits for the port is served, the engine is not touched", async () => {
    const [engine] = berth.pids("engine");
    const stopped = killRole("gateway", "SIGSTOP");
    expect(await until("an answer", answers)).toBe(true);
    expect(berth.pids("gateway")).not.toContain(stopped);
    expect(berth.pids("engine")).toEqual([engine]);
    expect(await lastRestart()).toMatchObject({ process: "gateway", reason });
    expect(berth.output()).toContain(`gateway ${reason}; it is started again`);
  });
});

describe("during a download", () => {
  const slow = { kind: "slow" as const, on: "/storage/", bytesPerS: 1_500_000 };
  it.each([
    ["control", "acme/secret"],
    ["gateway", "acme/licensed"],
    ["engine", "acme/other"],
  ] as const)("%s dies: the deployment comes up by itself, the other one serves", async (role, repo) => {
    hub.setFaults([slow]);
    const { body } = await berth.call("POST", "/deploy/llm", {
      ...{ model_name: `while-${role}-dies`, gpu: "other", max_batch_size: 2 },
      hf: { repo, token: "hf_alice" },
    });
    await until("some bytes", async () => {
      const { body: now } = await berth.call("GET", `/deploy/${body.deploy_id}/events`);
      return (now.progress?.bytes_done ?? 0) > 0;
    });
    killRole(role);
    await until("the port", () => isReady(berth.url));
    const running = await until("the deployment to run", async () => {
      const { status, body: now } = await berth.call("GET", `/deploy/${body.deploy_id}`);
      return status === 200 && (now.status === "running" || now.status === "failed") && now;
    });
    expect(running.fail_reason).toBe("");
    expect(running.status).toBe("running");
    expect(await answers()).toBe(true);
    await berth.call("DELETE", `/deploy/${body.deploy_id}`);
    await until("one engine", () => berth.pids("engine").length === 1);
  });
});

describe("the supervisor", () => {
  it("dies: nothing of it stays but the engines, and the next start adopts them", async () => {
    const engines = berth.pids("engine");
    const children = [...berth.pids("control"), ...berth.pids("gateway")];
    expect(children).toHaveLength(2);
    berth.process.kill("SIGKILL");
    await until("control and gateway to end", () => children.every((pid) => !isAlive(pid)));
    expect(berth.pids("engine")).toEqual(engines);
    const old = berth;
    berth = await startBerth({
      home: old.home,
      env: { HF_ENDPOINT: hub.url, BERTH_STARTER: "off" },
    });
    expect(await answers()).toBe(true);
    expect(berth.pids("engine")).toEqual(engines);
  });

  it("stops cleanly on SIGTERM while engines run on, lets a stream finish, and starts again with them", async () => {
    const engines = berth.pids("engine");
    const stream = await openStream();
    const exited = new Promise((resolve) => berth.process.once("exit", resolve));
    berth.process.kill("SIGTERM");
    expect(await stream.toEnd()).toBe("length");
    expect(await exited).toBe(0);
    expect(berth.pids("engine")).toEqual(engines);
    const old = berth;
    berth = await startBerth({ home: old.home, env: { HF_ENDPOINT: hub.url, BERTH_STARTER: "off" } });
    expect(await answers()).toBe(true);
    expect(berth.pids("engine")).toEqual(engines);
  });
});
