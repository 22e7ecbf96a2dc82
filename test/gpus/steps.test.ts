/**
 * 200 random steps on a machine of 8 GPUs with real processes: deployments of 1, 2, 4 and 8 GPUs come, fail, move and go; GPUs are lost
 * and come back; control is replaced. Whoever asks the processes at any time finds no GPU given twice, and none leaks.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { fakeMachine } from "../../tools/fake-nvidia-smi/machine.ts";
import { until } from "../harness/berth.ts";
import { type GpuRig, startGpuRig } from "./machine.ts";

// Its GPUs are this run's alone: who holds them is looked for among all processes.
const machine = fakeMachine(`step-${process.pid}`, 8);
let rig: GpuRig;
beforeAll(async () => {
  rig = await startGpuRig(machine);
});
afterAll(() => rig?.end());

/** A small generator of numbers, so that a failure can be repeated by its seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function checkNoGpuTwice(): void {
  const owners = new Map<string, string>();
  for (const { instanceId, gpus } of rig.holders()) {
    for (const gpu of gpus) {
      expect(owners.get(gpu) ?? instanceId, `${gpu} is given twice`).toBe(instanceId);
      owners.set(gpu, instanceId);
    }
  }
}

const most = 5;
const alive: string[] = [];
let names = 0;
const kinds = ["come", "come", "come", "fail", "fail", "move", "go", "go", "lose", "return"] as const;

async function step(random: (below: number) => number): Promise<void> {
  const kind = kinds[random(kinds.length)];
  const pick = random(1000);
  const id = alive[pick % Math.max(1, alive.length)];
  if (kind === "come" && alive.length < most) {
    names += 1;
    alive.push(await rig.deploy(`m${names}`, [1, 1, 2, 4, 8][pick % 5] ?? 1));
  } else if (kind === "fail") {
    const holders = rig.holders();
    const pid = holders[pick % Math.max(1, holders.length)]?.pid;
    if (pid !== undefined) process.kill(pid, "SIGKILL");
  } else if (kind === "move" && id !== undefined) {
    await rig.api.call("POST", `/deploy/${id}/stop`);
    await rig.api.call("POST", `/deploy/${id}/start`);
  } else if (kind === "go" && id !== undefined) {
    alive.splice(alive.indexOf(id), 1);
    await rig.api.call("DELETE", `/deploy/${id}`);
  } else if (kind === "lose") rig.tool.change(pick % 8, { lost: "GPU is lost" });
  else if (kind === "return") rig.tool.become(machine);
}

/** Everything that is wanted runs, has failed, waits for room, or waits for its next try. */
async function isAtRest(id: string): Promise<boolean> {
  const deployment = await rig.api.store.deployment(id);
  if (deployment === null || deployment.failure !== null || deployment.tries.count > 1) return true;
  if ((await rig.shown(id)).instances.running === 1) return true;
  return (await rig.events(id)).some(({ code }) => code === "waiting_for_room");
}

const seed = Number(process.env.BERTH_TEST_SEED ?? Date.now() % 1_000_000);

it(`gives no GPU twice and leaks none (seed ${seed})`, async () => {
  const random = randomFrom(seed);
  for (let count = 1; count <= 200; count += 1) {
    await step(random);
    checkNoGpuTwice();
    if (count % 80 === 0) await rig.replaceControl();
    if (count % 40 !== 0) continue;
    for (const id of alive) await until(`${id} to rest`, () => isAtRest(id));
    checkNoGpuTwice();
  }
  rig.tool.become(machine);
  for (const id of alive) await rig.api.call("DELETE", `/deploy/${id}`);
  await until("every GPU to be free", () => rig.holders().length === 0);
  await until("all eight to be offered again", () => rig.isOffered("8xH100-80GB"));
  const last = await rig.deploy("last", 8);
  await until("all eight to be given", async () => {
    checkNoGpuTwice();
    return (await rig.shown(last)).instances.running === 1;
  });
  expect(rig.holders().map(({ gpus }) => [...gpus].sort())).toEqual([machine.gpus.map(({ uuid }) => uuid)]);
});
