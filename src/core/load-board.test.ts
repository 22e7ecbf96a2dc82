import { describe, expect, it } from "vitest";
import type { InstanceRecord } from "./instance.ts";
import { LoadBoard } from "./load-board.ts";

const draining: InstanceRecord = {
  id: "i",
  deploymentId: "d",
  intent: "drain",
  createdAtMs: 0,
  drainSinceMs: 0,
  revision: 1,
  warmedAtMs: null,
  observed: null,
};

const load = (inFlight: Record<string, number>) => ({ queued: 1, running: 2, lastRequestAtMs: 7, inFlight });

describe("the load board", () => {
  it("sums what the gateways say and forgets one that has gone", () => {
    const board = new LoadBoard();
    expect([...board.put({ gatewayId: "g1", models: { d: load({ i: 2 }) } })]).toEqual(["d"]);
    expect([...board.put({ gatewayId: "g1", models: { d: load({ i: 2 }) } })]).toEqual([]);
    board.put({ gatewayId: "g2", models: { d: { ...load({ i: 1 }), lastRequestAtMs: 9 } } });
    expect(board.of("d", [])).toEqual({ queued: 2, running: 4, lastRequestAtMs: 9, inFlight: { i: 3 } });
    expect([...board.drop("g2")]).toEqual(["d"]);
    expect(board.of("d", [])).toMatchObject({ queued: 1, lastRequestAtMs: 7 });
    expect(board.gateways).toBe(1);
  });

  it("names an instance that any gateway suspects, once", () => {
    const board = new LoadBoard();
    for (const gatewayId of ["g1", "g2"]) {
      board.put({ gatewayId, models: { d: { ...load({}), suspects: ["i"] } } });
    }
    expect(board.of("d", []).suspects).toEqual(["i"]);
  });

  it("does not know what is at a draining instance until every gateway has named it", () => {
    const board = new LoadBoard();
    board.put({ gatewayId: "g1", models: { d: load({ i: 0 }) } });
    board.put({ gatewayId: "g2", models: {} });
    expect(board.of("d", [draining]).inFlight).toEqual({});
    board.put({ gatewayId: "g2", models: { d: load({ i: 0 }) } });
    expect(board.of("d", [draining]).inFlight).toEqual({ i: 0 });
  });
});
