/** Deployments on GPUs, end to end: devices by UUID, what is offered, a GPU that is lost under a running instance. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { fakeMachine } from "../../tools/fake-nvidia-smi/machine.ts";
import { until } from "../harness/berth.ts";
import { type GpuRig, startGpuRig } from "./machine.ts";

// Its GPUs are this run's alone: who holds them is looked for among all processes.
const machine = fakeMachine(`dep-${process.pid}`, 4);
let rig: GpuRig;
beforeAll(async () => {
  rig = await startGpuRig(machine);
});
afterAll(() => rig?.end());

const running = (id: string) =>
  until(`${id} to run`, async () => (await rig.shown(id)).instances.running === 1);
const codes = async (id: string) => (await rig.events(id)).map(({ code }) => code);
it("gives an instance its GPUs by UUID, and offers what is left", async () => {
  const sizes = [1, 2, 3, 4].map((count) => `${count}xH100-80GB`);
  expect(await rig.offers()).toEqual([...sizes, expect.stringMatching(/^1xother/)]);
  const id = await rig.deploy("two", 2);
  await running(id);
  expect(rig.holders().map(({ gpus }) => gpus)).toEqual([machine.gpus.slice(0, 2).map(({ uuid }) => uuid)]);
  expect((await rig.events(id)).find(({ code }) => code === "instance_starting")?.text).toMatch(
    /2 of 4 free H100-80GB on \S+\.$/,
  );
  expect(await rig.offers()).toEqual(["1xH100-80GB", "2xH100-80GB", expect.stringMatching(/^1xother/)]);
});

it("says what it waits for, and starts when room is made", async () => {
  const large = await rig.deploy("four", 4);
  await until("it to wait", async () => (await codes(large)).includes("waiting_for_room"));
  expect((await rig.events(large)).find(({ code }) => code === "waiting_for_room")?.text).toBe(
    "ann/four waits for room: 2 of 4 H100-80GB are taken, no machine has 4 free together.",
  );
  expect((await rig.shown(large)).status).toBe("deploying");
  const [two] = (await rig.api.store.deployments({ includeDeleted: false })).filter(
    ({ name }) => name === "ann/two",
  );
  await rig.api.call("POST", `/deploy/${two?.id}/stop`);
  await running(large);
  expect(rig.holders()[0]?.gpus).toHaveLength(4);
  await rig.api.call("DELETE", `/deploy/${large}`);
  await until("its GPUs to be free", () => rig.holders().length === 0);
});

it("replaces an instance whose GPU is lost, elsewhere and with the reason", async () => {
  const id = await rig.deploy("one", 1);
  await running(id);
  const [before] = rig.holders();
  const index = rig.tool.machine.gpus.findIndex(({ uuid }) => uuid === before?.gpus[0]);
  rig.tool.change(index, { lost: "GPU is lost" });
  const after = await until("another engine on another GPU", () => {
    const [now, ...more] = rig.holders();
    return more.length === 0 && now !== undefined && now.gpus[0] !== before?.gpus[0] && now;
  });
  await running(id);
  expect(after.instanceId).not.toBe(before?.instanceId);
  expect((await rig.events(id)).find(({ code }) => code === "gpu_lost")?.text).toBe(
    `The GPU ${before?.gpus[0]} (NVIDIA H100 80GB HBM3) of an instance cannot be reached any more: the driver lost it (GPU is lost).`,
  );
  expect(await rig.offers()).toEqual(["1xH100-80GB", "2xH100-80GB", expect.stringMatching(/^1xother/)]);
});

it("fails at once what the machine has no more, and waits for what a stranger uses", async () => {
  const four = await rig.deploy("four-again", 4);
  await until("it to fail", async () => (await rig.shown(four)).status === "failed");
  expect((await rig.shown(four)).fail_reason).toMatch(
    /^No machine here has 4 x H100-80GB; there is 3 x H100-80GB and .* \(1 more cannot be used: the driver lost it/,
  );
  const free = rig.tool.machine.gpus.findIndex(
    ({ uuid, lost }) => lost === undefined && rig.holders()[0]?.gpus[0] !== uuid,
  );
  rig.tool.change(free, {
    processes: [{ pid: 1, type: "C", name: "/usr/bin/python3 secret.py", usedMib: 9000 }],
  });
  expect((await rig.api.call("GET", "/v1/berth/info", { token: rig.api.tokens.root })).json).toMatchObject({
    gpus: expect.arrayContaining([expect.objectContaining({ outage: "lost", usable: false })]),
  });
  await until("the stranger to be seen", async () => !(await rig.isOffered("2xH100-80GB")));
  const two = await rig.deploy("two-more", 2);
  await until("it to wait", async () => (await codes(two)).includes("waiting_for_room"));
  expect((await rig.events(two)).at(-1)?.text).toMatch(
    /process 1 \(python3\), not of Berth, holds 9\.4 GB of it/,
  );
  rig.tool.change(free, { processes: [] });
  await running(two);
});

async function removeAll(): Promise<void> {
  for (const { id } of await rig.api.store.deployments({ includeDeleted: false }))
    await rig.api.call("DELETE", `/deploy/${id}`);
  await until("all GPUs to be free", () => rig.holders().length === 0);
}

it("another control takes over what runs, and gives its GPUs to nobody", async () => {
  await removeAll();
  await running(await rig.deploy("kept", 1));
  const before = rig.holders();
  await rig.replaceControl();
  expect(rig.holders()).toEqual(before);
  await running(await rig.deploy("next", 2));
  expect(new Set(rig.holders().flatMap(({ gpus }) => gpus)).size).toBe(3);
});

it("GPUs of idle instances above a minimum go to whoever needs them: for a minimum, and for work", async () => {
  await removeAll();
  const bounds = (min: number, max: number) => ({ settings: { min_instances: min, max_instances: max } });
  const runs = (id: string, count: number) =>
    until(`${count} of ${id} to run`, async () => (await rig.shown(id)).instances.running === count);
  const rich = await rig.deploy("rich", 1, bounds(0, 3));
  rig.report({ [rich]: 3 });
  await runs(rich, 3);
  // Idle from here on, and within the time in which nothing is given up without need.
  rig.report({ [rich]: 0 });
  const poor = await rig.deploy("poor", 1, bounds(1, 2));
  await runs(poor, 1);
  await runs(rich, 2);
  rig.report({ [rich]: 0, [poor]: 2 });
  await runs(poor, 2);
  await runs(rich, 1);
  const held = rig.holders().flatMap(({ gpus }) => gpus);
  expect([held.length, new Set(held).size]).toEqual([3, 3]);
  expect(await codes(poor)).toContain("waiting_for_room");
  const given = (await rig.events(rich)).filter(({ text }) => text.includes("ann/poor has the better claim"));
  expect(given).toHaveLength(2);
});

it("an update stays within the account's quota: where it leaves no room, the old instance gives up its place", async () => {
  await removeAll();
  const { access } = rig.api.store;
  const id = await rig.deploy("bounded", 1, { settings: { min_instances: 1, max_instances: 1 } });
  await running(id);
  const [old] = rig.holders();
  await access.changeTerms("ann", (terms) => ({
    ...terms,
    limits: { ...terms.limits, gpus: { "H100-80GB": 1 } },
  }));
  expect((await rig.api.call("PUT", `/deploy/${id}`, { body: { extra_args: ["--new"] } })).status).toBe(200);
  await until("the new instance to have replaced the old one", () => {
    const now = rig.holders();
    expect(now.length).toBeLessThanOrEqual(1);
    return now[0] !== undefined && now[0].instanceId !== old?.instanceId;
  });
  await until("the update to be done", async () => (await codes(id)).includes("updated"));
});
