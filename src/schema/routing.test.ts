import { describe, expect, expectTypeOf, test } from "vitest";
import type { z } from "zod";
import { unknownAbilities } from "../core/abilities.ts";
import type { LoadReport, RecordBatch, RoutingSnapshot, ScopeVerdict } from "../core/routing.ts";
import { freeOfCharge } from "../core/usage.ts";
import { loadReport, type recordBatch, routingSnapshot, type scopeVerdict } from "./routing.ts";

const snapshot = {
  version: 3,
  atMs: 1_700_000_000_000,
  tokens: [
    { hash: "a".repeat(64), tokenId: "t1", account: "ann", allowedIps: ["10.0.0.0/8"], isAdmin: true },
  ],
  accounts: [{ name: "ann", concurrentRequests: 200, requestsPerMinute: null, tokensPerMinute: 1000 }],
  limitedTokens: [],
  spentScopes: ["s1"],
  models: [
    {
      deploymentId: "d1",
      name: "ann/chat",
      account: "ann",
      isPublic: false,
      state: "ready",
      reason: "",
      loadTimeMs: null,
      createdAtMs: 1,
      contextTokens: 2048,
      version: "c0ffee",
      abilities: unknownAbilities,
      prices: freeOfCharge,
      task: "text-generation",
      instances: [
        { id: "i1", endpoint: { kind: "unix", path: "/run/i1" }, secret: "s", slots: 4, isDraining: false },
        {
          id: "i2",
          endpoint: { kind: "tcp", host: "10.0.0.2", port: 8000 },
          secret: "s",
          slots: 4,
          isDraining: true,
        },
      ],
    },
  ],
};

describe("the border between control and gateway", () => {
  test("parses to exactly the types of core/routing", () => {
    expectTypeOf<z.output<typeof routingSnapshot>>().toExtend<RoutingSnapshot>();
    expectTypeOf<z.output<typeof loadReport>>().toExtend<LoadReport>();
    expectTypeOf<z.output<typeof recordBatch>>().toExtend<RecordBatch>();
    expectTypeOf<z.output<typeof scopeVerdict>>().toExtend<ScopeVerdict>();
  });

  test("a snapshot comes through unchanged, fields of a newer side are dropped", () => {
    expect(routingSnapshot.parse(snapshot)).toEqual(snapshot);
    expect(routingSnapshot.parse({ ...snapshot, weather: "fine" })).toEqual(snapshot);
  });

  test("a secret that would break a header line is refused", () => {
    const bad = structuredClone(snapshot);
    for (const instance of bad.models[0]?.instances ?? []) instance.secret = "a\r\nx: y";
    expect(routingSnapshot.safeParse(bad).success).toBe(false);
  });

  test("a load report comes through unchanged, negative counts are refused", () => {
    const report = {
      gatewayId: "g",
      models: { d1: { queued: 1, running: 2, lastRequestAtMs: null, inFlight: { i1: 2 } } },
    };
    expect(loadReport.parse(report)).toEqual(report);
    const bad = { gatewayId: "g", models: { d1: { ...report.models.d1, queued: -1 } } };
    expect(loadReport.safeParse(bad).success).toBe(false);
  });
});
