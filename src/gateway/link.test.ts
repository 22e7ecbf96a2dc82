import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { modelOf, startRig } from "./test-rig.ts";

test("control away: inference goes on with the last routes, and load is reported again when it is back", async () => {
  const rig = await startRig();
  const { instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  expect((await rig.chat()).status).toBe(200);
  await rig.control.kill();
  await eventually(() => expect(rig.logs.some((line) => line.startsWith("warn control is away"))).toBe(true));
  expect((await rig.chat()).status).toBe(200);
  expect((await rig.ask("/readyz")).status).toBe(200);
  const before = rig.control.loads.length;
  await rig.control.listen();
  await eventually(() => expect(rig.control.loads.length).toBeGreaterThan(before));
  expect(rig.control.loads.at(-1)).toMatchObject({
    gatewayId: "gateway-1",
    models: { d1: { queued: 0, running: 0 } },
  });
  await rig.publish();
  expect((await rig.chat()).status).toBe(404);
});

test("routes that have become too old are not gone by", async () => {
  let aheadMs = 0;
  const clock = {
    now: () => Date.now() + aheadMs,
    sleep: () => new Promise<void>((resolve) => setTimeout(resolve, 5)),
  };
  const rig = await startRig({ clock, limits: { snapshotMaxAgeMs: 60_000 } });
  const { instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  await rig.control.kill();
  aheadMs = 59_000;
  expect((await rig.chat()).status).toBe(200);
  aheadMs = 120_000;
  const response = await rig.chat();
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ error: { code: "control_away" } });
  expect((await rig.ask("/readyz")).status).toBe(503);
});

test("a token that is revoked stops working with the next routes", async () => {
  const rig = await startRig();
  await rig.publish(modelOf([], { isPublic: true }));
  expect((await rig.ask("/v1/models")).status).toBe(200);
  rig.control.tokens = [];
  await rig.publish(modelOf([]));
  expect((await rig.ask("/v1/models")).status).toBe(401);
});
