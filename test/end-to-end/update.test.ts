/** Rolling updates of the real engine under load: other arguments come, bad ones go, and no request is lost. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";

let berth: Berth;
let id = "";
beforeAll(async () => {
  berth = await startBerth({ env: { BERTH_STARTER: "off", BERTH_CPU_CONTEXT_MB: "64" } });
  const { body } = await berth.call("POST", "/deploy/llm", {
    model_name: "mine",
    gpu: "other",
    max_batch_size: 4,
    hf: { repo: "berth/starter" },
    extra_args: ["--ctx-size", "512"],
  });
  id = body.deploy_id;
  await untilStatus(berth, id, "running");
});
afterAll(() => berth?.end());

type Shown = {
  readonly status: string;
  readonly extra_args: readonly string[];
  readonly standard_args: Record<string, unknown>;
  readonly update_error: string | null;
  readonly rollout: unknown;
  readonly instances: { readonly running: number };
};
const shown = async () => (await berth.call("GET", `/deploy/${id}`)).raw as Shown;

/** Three clients, each asking again as soon as it has its answer. */
function startLoad() {
  let isOver = false;
  const answers: number[] = [];
  const client = async (stream: boolean) => {
    while (!isOver) {
      const response = await fetch(`${berth.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({
          model: "mine",
          stream,
          max_tokens: 12,
          messages: [{ role: "user", content: "Tell me a story about a fox." }],
        }),
      });
      const text = await response.text();
      const isWhole = stream ? text.trimEnd().endsWith("data: [DONE]") : text.includes("finish_reason");
      answers.push(
        response.status === 200 && isWhole && !text.includes('"error"') ? 200 : response.status || 1,
      );
      if (response.status !== 200 || !isWhole)
        throw new Error(`a request was lost: ${response.status} ${text}`);
    }
  };
  const clients = Promise.all([client(true), client(true), client(false)]);
  return {
    answers,
    async end() {
      isOver = true;
      await clients;
    },
  };
}

it("brings new arguments, takes bad ones back, and restores old ones, without losing a request", async () => {
  const load = startLoad();
  const before = berth.pids("engine");

  // Good: the old instance serves until the new one has answered.
  const asked = await berth.call("PUT", `/deploy/${id}`, { extra_args: ["--ctx-size", "768"] });
  expect(asked.status, JSON.stringify(asked.body)).toBe(200);
  expect((await shown()).status).toBe("updating");
  const updated = await until("the update to be done", async () => {
    const now = await shown();
    expect(["updating", "running"]).toContain(now.status);
    expect(now.instances.running).toBeGreaterThanOrEqual(1);
    return now.status === "running" && now;
  });
  expect(updated).toMatchObject({ extra_args: ["--ctx-size", "768"], update_error: null, rollout: null });
  await until("the old engine gone", () => !berth.pids("engine").some((pid) => before.includes(pid)));
  const good = berth.pids("engine");

  // Bad: more context than the model has.
  await berth.call("PUT", `/deploy/${id}`, {
    extra_args: [],
    standard_args: { max_context_size: 9_000_000 },
  });
  const reverted = await until("the update to be taken back", async () => {
    const now = await shown();
    expect(["updating", "running"]).toContain(now.status);
    return now.update_error !== null && now;
  });
  expect(reverted).toMatchObject({ status: "running", extra_args: ["--ctx-size", "768"], standard_args: {} });
  expect(reverted.update_error).toContain("9000000 tokens (max_context_size, --ctx-size) is more than");
  await until("only the good engine", () => String(berth.pids("engine")) === String(good));

  // The history has both, and the first one comes back.
  const history = (await berth.call("GET", `/deploy/${id}/config/history`)).raw as {
    entry_id: string;
    extra_args: string[];
    standard_args: unknown;
  }[];
  expect(history).toMatchObject([
    { extra_args: [], standard_args: { max_context_size: 9_000_000 } },
    { extra_args: ["--ctx-size", "512"] },
  ]);
  const restored = await berth.call("POST", `/deploy/${id}/config/history/${history[1]?.entry_id}/restore`);
  expect(restored.status).toBe(200);
  await until("the old arguments again", async () => {
    const now = await shown();
    return now.status === "running" && now.extra_args[1] === "512" && now.update_error === null;
  });
  const { body } = await berth.call("GET", `/deploy/${id}/events`);
  const codes = body.events.map(({ code }) => code);
  for (const code of ["update_asked", "instance_warm", "updated", "update_reverted", "restore_asked"]) {
    expect(codes).toContain(code);
  }

  await load.end();
  expect(load.answers.length).toBeGreaterThan(3);
  expect(load.answers.every((status) => status === 200)).toBe(true);
});

it("goes on from the facts when control is killed in the middle of it", async () => {
  const load = startLoad();
  await berth.call("PUT", `/deploy/${id}`, { standard_args: { max_context_size: 640 }, extra_args: [] });
  await until("the update to be under way", async () => (await shown()).status === "updating");
  const [control] = berth.pids("control");
  if (control === undefined) throw new Error("there is no control");
  process.kill(control, "SIGKILL");
  await until("the update to be done", async () => {
    const { status, raw } = await berth.call("GET", `/deploy/${id}`);
    const now = raw as Shown;
    return status === 200 && now.status === "running" && now.standard_args.max_context_size === 640;
  });
  await until("one engine", () => berth.pids("engine").length === 1);
  await load.end();
  expect(load.answers.every((status) => status === 200)).toBe(true);
});
