/**
 * A whole Berth whose vLLM is in a container image, on a stand-in for Docker: fetched, started, asked, adopted by another Berth after
 * `kill -9`, ended; a crash within; an image that does not come. Nothing of it is left in the end, which the runtime is asked for.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type InstalledRuntime, installFakeDocker, vllmInImage } from "../../tools/fake-docker/installed.ts";
import { type Fixture, startFixture } from "../../tools/fake-hub/fixture.ts";
import { isAlive } from "../harness/alive.ts";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";
import { starterFolder } from "../harness/weights.ts";

const image = "registry.test/vllm-cpu:v0.32.0";
const pinned = `registry.test/vllm-cpu@sha256:${"0a".repeat(32)}`;
let hub: Fixture;
let folder: string;
let home: string;
let runtime: InstalledRuntime;
let berth: Berth;

const start = () =>
  startBerth({
    home,
    env: {
      ...{ HF_ENDPOINT: hub.hub.url, BERTH_HUB_PRIVATE: "on", BERTH_STARTER: "off", BERTH_VLLM: "image" },
      ...{ BERTH_CONTAINER_RUNTIME: runtime.program, BERTH_VLLM_IMAGE: image, BERTH_LOAD_TRIES: "1" },
      ...{ BERTH_CONTAINER_IMAGES: pinned, BERTH_DRAIN_S: "1" },
    },
  });

beforeAll(async () => {
  const names = readdirSync(starterFolder).filter((name) => /\.(json|safetensors|jinja)$/.test(name));
  hub = await startFixture({
    "acme/tensors": Object.fromEntries(names.map((name) => [name, readFileSync(join(starterFolder, name))])),
  });
  home = mkdtempSync(join(tmpdir(), "berth-test-"));
  folder = mkdtempSync(join(tmpdir(), "berth-docker-"));
  await chmod(folder, 0o755);
  runtime = installFakeDocker(folder, { registry: { [image]: vllmInImage } });
  berth = await start();
});
afterAll(async () => {
  await berth?.end();
  await hub?.[Symbol.asyncDispose]();
  for (const made of [home, folder]) if (made !== undefined) rmSync(made, { recursive: true, force: true });
});

async function deploy(name: string, more: Record<string, unknown> = {}): Promise<string> {
  const body = { model_name: name, gpu: "other", max_batch_size: 2, hf: { repo: "acme/tensors" }, ...more };
  const answer = await berth.call("POST", "/deploy/llm", body);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body.deploy_id;
}

const untilRunning = (id: string) =>
  until(`${id} to serve`, async () => {
    const { body } = await berth.call("GET", `/deploy/${id}`);
    expect(body.status, body.fail_reason).not.toBe("failed");
    return body.instances.running > 0;
  });
const untilGone = (id: string) =>
  until(`the container of ${id} to be gone`, () => runtime.containers(id).length === 0);
const eventsOf = async (id: string) => (await berth.call("GET", `/deploy/${id}/events`)).body.events;
const codesOf = async (id: string) => (await eventsOf(id)).map(({ code }) => code);

async function stream(name: string): Promise<Response> {
  return await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ model: name, stream: true, messages: [{ role: "user", content: "Hello" }] }),
  });
}

test("is fetched, serves, is adopted after kill -9 of the whole Berth, and is gone when it is deleted", async () => {
  const id = await deploy("safe");
  await untilRunning(id);
  const codes = await codesOf(id);
  expect(codes.filter((code) => /^image_|^weights_ready|^instance_starting/.test(code))).toEqual([
    ...["image_fetching", "image_ready", "weights_ready", "instance_starting"],
  ]);
  expect(await (await stream("safe")).text()).toMatch(/"content":"\S[\s\S]*\[DONE\]/);
  const before = runtime.containers(id);
  expect(before).toHaveLength(1);
  const logs = await berth.call("GET", `/v1/logs/query?deploy_id=${id}`);
  expect(JSON.stringify(logs.raw)).toContain("Application startup complete");

  const own = [berth.process.pid ?? 0, ...berth.pids("control"), ...berth.pids("gateway")];
  for (const pid of own) process.kill(pid, "SIGKILL");
  await until("Berth to be gone", () => !own.some(isAlive));
  expect(runtime.containers(id)).toEqual(before);
  berth = await start();
  await untilRunning(id);
  expect(runtime.containers(id)).toEqual(before);
  expect(await (await stream("safe")).text()).toContain("[DONE]");
  expect((await codesOf(id)).filter((code) => code === "instance_starting")).toHaveLength(1);

  await berth.call("DELETE", `/deploy/${id}`);
  await untilGone(id);
  expect(runtime.world().pulls.filter((one) => one === image)).toHaveLength(1);
});

test("a crash within is told by what it printed, and its container is gone", async () => {
  const id = await deploy("crash");
  await untilRunning(id);
  await (await stream("crash")).text().catch(() => "broken off");
  await until("the crash to be told", async () =>
    (await eventsOf(id)).some(({ text }) => /illegal memory access/i.test(text)),
  );
  await berth.call("DELETE", `/deploy/${id}`);
  await untilGone(id);

  const small = await deploy("cuda-oom");
  const { fail_reason } = await untilStatus(berth, small, "failed");
  expect(fail_reason).toMatch(/^vLLM ran out of GPU memory while loading/);
  await untilGone(small);
});

test("an image that was removed is fetched again; one that does not come fails with what to do", async () => {
  runtime.become({ images: [] });
  const id = await deploy("again");
  await untilRunning(id);
  runtime.become({ images: [] });
  const [first] = runtime.containers(id);
  for (const pid of berth.pids("engine")) process.kill(pid, "SIGKILL");
  await until("another container", () => runtime.containers(id).some((name) => name !== first));
  await untilRunning(id);
  expect(await codesOf(id)).toContain("image_missing");
  expect(await (await stream("again")).text()).toContain("[DONE]");
  await berth.call("DELETE", `/deploy/${id}`);

  runtime.become({ images: [], registry: { [image]: { ...vllmInImage, fault: "forbidden" } } });
  const refused = await deploy("refused");
  const { fail_reason } = await untilStatus(berth, refused, "failed");
  expect(fail_reason).toBe(
    `The registry has no image ${image}, or does not give it to Berth. Correct BERTH_VLLM_IMAGE, or log in to the registry (\`docker login\`, \`podman login\`) as Berth's user.`,
  );
});

test("a deployment may name an image that is allowed, whose pull ends when it is deleted", async () => {
  runtime.become({ registry: { [image]: vllmInImage, [pinned]: { ...vllmInImage, fault: "stuck" } } });
  const id = await deploy("named", { container_image: pinned });
  await until("the pull to be under way", async () => {
    const { progress } = (await berth.call("GET", `/deploy/${id}/events`)).raw as {
      progress: { files: string[] } | null;
    };
    return progress?.files.some((file) => file === `image ${pinned}: 1 of 3 layers`);
  });
  expect(runtime.pulling()).toHaveLength(1);
  await berth.call("DELETE", `/deploy/${id}`);
  await until("the pull to be given up", () => runtime.pulling().length === 0);
  runtime.become({ registry: { [image]: vllmInImage, [pinned]: vllmInImage } });
  const second = await deploy("named-again", { container_image: pinned });
  await untilRunning(second);
  expect((await berth.call("POST", "/v1/berth/down")).status).toBeLessThan(300);
  await until("all containers to be gone", () => runtime.containers().length === 0);
});
