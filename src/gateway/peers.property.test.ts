/** Several processes of one gateway under whatever may happen: never more is given out than there are slots (invariant 10). */
import fc from "fast-check";
import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { Tier } from "../core/queue.ts";
import type { Lease } from "./lease.ts";
import {
  acquireAt,
  announce,
  ask,
  deliver,
  deliverAll,
  end,
  group,
  instance,
  noLimits,
  type Process,
  startProcess,
  tick,
  useGroup,
} from "./peers-rig.ts";
import { modelOf } from "./test-rig.ts";

useGroup();

type Step =
  | { readonly kind: "acquire"; readonly at: number; readonly deployment: number; readonly tier: Tier }
  | { readonly kind: "release" | "leave" | "deliver" | "kill"; readonly at: number }
  | { readonly kind: "come"; readonly seat: number }
  | { readonly kind: "tick" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ kind: fc.constant("acquire" as const), at: fc.nat(), deployment: fc.nat(2) },
      tier: fc.constantFrom("priority" as const, "flex" as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("release" as const, "deliver" as const), at: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("leave" as const, "kill" as const), at: fc.nat() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("come" as const), seat: fc.nat(2) }) },
  { weight: 8, arbitrary: fc.constant({ kind: "tick" as const }) },
);

/** A request of a process, from its coming to its end. */
type Request = { readonly process: Process; readonly abort: AbortController; lease: Lease | null };

test("never more than the slots in use and nobody lost, whoever comes, asks, leaves and is killed, whenever views arrive", async () => {
  const plan = fc.record({
    slots: fc.integer({ min: 1, max: 3 }),
    steps: fc.array(step, { minLength: 40, maxLength: 150 }),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ slots, steps }) => {
      const ids = ["d1", "d2", "d3"];
      const models = ids.map((id) => modelOf([{ ...instance(slots), id: `of ${id}` }], { deploymentId: id }));
      const requests = new Set<Request>();
      const failures: unknown[] = [];
      const counts = new Map<string, number>();
      const count = (id: string, by: number) => {
        counts.set(id, (counts.get(id) ?? 0) + by);
        if ((counts.get(id) ?? 0) > slots) failures.push(`${counts.get(id)} ${id} with ${slots} slots`);
      };
      const finish = (request: Request) => {
        requests.delete(request);
        if (request.lease !== null) count(request.lease.instance.id, -1);
      };
      const acquire = async (process: Process, deploymentId: string, tier: Tier) => {
        const request: Request = { process, abort: new AbortController(), lease: null };
        requests.add(request);
        try {
          const { signal } = request.abort;
          const lease = await acquireAt(process, ask({ deploymentId, tier }), signal);
          if (!requests.has(request)) return; // its process was killed
          request.lease = lease;
          count(lease.instance.id, 1);
        } catch (error) {
          if (!request.abort.signal.aborted && requests.has(request)) failures.push(error);
          requests.delete(request);
        }
      };
      const add = async (seat: number) => {
        const one = await startProcess(seat);
        one.admission.setModels(models, noLimits);
        group.members.push(one);
        announce();
      };
      const act = async (one: Step) => {
        const pick = <T>(list: readonly T[], at: number) => list[at % list.length];
        switch (one.kind) {
          case "acquire": {
            const process = pick(group.members, one.at);
            if (process !== undefined) void acquire(process, ids[one.deployment] ?? "", one.tier);
            return;
          }
          case "release": {
            const request = pick(
              [...requests].filter(({ lease }) => lease !== null),
              one.at,
            );
            if (request === undefined) return;
            finish(request);
            request.lease?.release();
            return;
          }
          case "leave":
            pick(
              [...requests].filter(({ lease }) => lease === null),
              one.at,
            )?.abort.abort(new Error("left"));
            return;
          case "deliver": {
            const process = pick(group.members, one.at);
            if (process !== undefined) deliver(process);
            return;
          }
          case "kill": {
            const process = pick(group.members, one.at);
            if (process === undefined || group.members.length === 1) return;
            for (const request of [...requests]) if (request.process === process) finish(request);
            end(process);
            return;
          }
          case "come":
            if (group.members.length < 5) await add(one.seat);
            return;
          case "tick":
            await tick();
        }
      };
      for (const seat of [0, 1, 2]) await add(seat);
      deliverAll();
      for (const { peers } of group.members) await peers.settled;
      for (const one of steps) await act(one);
      // In the end everybody is served, and nothing is left.
      deliverAll();
      const endsAtMs = Date.now() + 60_000;
      while (requests.size > 0 && failures.length === 0) {
        if (Date.now() > endsAtMs) failures.push(`${requests.size} requests are not served`);
        for (const request of [...requests]) {
          if (request.lease === null) continue;
          finish(request);
          request.lease.release();
        }
        await tick();
      }
      expect(failures).toEqual([]);
      await eventually(() => {
        for (const { admission } of group.members)
          for (const { running, queued, inFlight } of Object.values(admission.load()))
            expect([running, queued, inFlight]).toEqual([0, 0, {}]);
      });
      for (const { peers } of group.members) peers.close();
      group.members = [];
    }),
    { numRuns: 50 },
  );
});
