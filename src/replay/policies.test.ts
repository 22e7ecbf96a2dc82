import { describe, expect, it } from "vitest";
import { keda } from "./policies/keda.ts";
import { knative } from "./policies/knative.ts";
import { kubeai } from "./policies/kubeai.ts";
import { skyserve } from "./policies/skyserve.ts";
import { findPolicy, policyKinds, settingsOf } from "./policies.ts";
import type { PolicyKind, View } from "./policy.ts";

const scaled = { minInstances: 1, maxInstances: 10, slots: 8, loadMs: 60_000 };

/** Lets a policy look on its own pace at so many open requests, and does what it says; answers what it said. */
function watch(
  kind: PolicyKind,
  settings: Readonly<Record<string, number>>,
  worldAt: (atMs: number) => { readonly open: number; readonly qps?: number },
  untilMs: number,
): Map<number, number> {
  const policy = kind.create({ ...kind.defaults, ...settings }, scaled);
  const said = new Map<number, number>();
  let [live, workMs, arrived, beforeMs] = [1, 0, 0, 0];
  for (let nowMs = policy.everyMs; nowMs <= untilMs; nowMs += policy.everyMs) {
    const { open, qps = 0 } = worldAt(nowMs - 1);
    workMs += open * (nowMs - beforeMs);
    arrived += (qps * (nowMs - beforeMs)) / 1000;
    beforeMs = nowMs;
    const view: View = {
      ...{ nowMs, workMs, arrived, live, ready: live, unstarted: 0 },
      ...{ queued: Math.max(0, open - live * scaled.slots), running: Math.min(open, live * scaled.slots) },
      lastArrivalMs: open > 0 ? nowMs : null,
    };
    live = Math.min(scaled.maxInstances, Math.max(scaled.minInstances, policy.decide(view)));
    said.set(nowMs / 1000, live);
  }
  return said;
}

describe("kubeai", () => {
  it("goes by the mean of its window, up at once and down after its delay", () => {
    const settings = { timeWindow: 40, targetRequests: 10 };
    const said = watch(kubeai, settings, (atMs) => ({ open: atMs < 100_000 ? 40 : 0 }), 300_000);
    expect(said.get(10)).toBe(4);
    // Four looks of nothing empty the window; the third look with fewer in a row is not enough.
    expect([said.get(110), said.get(120), said.get(130), said.get(140)]).toEqual([4, 4, 4, 1]);
  });
});

describe("skyserve", () => {
  it("goes by requests a second, when it was so for as long as its delays", () => {
    const settings = { target_qps_per_replica: 2, upscale_delay_seconds: 60, downscale_delay_seconds: 120 };
    const said = watch(skyserve, settings, (atMs) => ({ open: 1, qps: atMs < 200_000 ? 8 : 0 }), 600_000);
    expect(said.get(40)).toBe(1);
    expect(said.get(60)).toBe(4);
    expect(said.get(300)).toBe(4);
    expect(said.get(600)).toBe(1);
  });
});

describe("knative", () => {
  it("panics at twice what is ready, and then gives nothing up for a stable window", () => {
    const settings = { "container-concurrency-target-default": 10 };
    const burst = (atMs: number) => ({ open: atMs > 100_000 && atMs < 120_000 ? 70 : 7 });
    const said = watch(knative, settings, burst, 400_000);
    expect(said.get(100)).toBe(1);
    expect(said.get(108)).toBe(10);
    expect(said.get(160)).toBe(10);
    expect(said.get(300)).toBe(1);
  });

  it("gives up no more than half at a time", () => {
    const settings = { "container-concurrency-target-default": 10, "panic-threshold-percentage": 1e9 };
    const said = watch(knative, settings, (atMs) => ({ open: atMs < 200_000 ? 70 : 0 }), 400_000);
    expect(said.get(200)).toBe(10);
    const counts = [...said.values()];
    for (const [index, count] of counts.entries())
      expect(count).toBeGreaterThanOrEqual(Math.floor((counts[index - 1] ?? 1) / 2));
  });
});

describe("keda", () => {
  it("goes by what waits, within its tolerance and the pace of the autoscaler", () => {
    const said = watch(keda, { threshold: 2 }, (atMs) => ({ open: atMs < 100_000 ? 40 : 0 }), 600_000);
    expect([said.get(15), said.get(30)]).toEqual([5, 5]);
    // What was wanted within five minutes is kept.
    expect(said.get(300)).toBe(5);
    expect(said.get(450)).toBe(1);
  });

  it("gives up at the next poll where there is no stabilization window", () => {
    const settings = { threshold: 2, stabilizationWindowSeconds: 0, runningWeight: 1 };
    const said = watch(keda, settings, (atMs) => ({ open: atMs < 100_000 ? 10 : 0 }), 300_000);
    expect([said.get(90), said.get(105)]).toEqual([5, 1]);
  });
});

describe("what a person may write", () => {
  it("names a policy and its settings, or is told which there are", () => {
    expect(findPolicy("keda")).toBe(keda);
    expect(findPolicy("hpa")).toBe(
      "There is no policy hpa. There are berth, kubeai, skyserve, knative, keda.",
    );
    expect(settingsOf(keda, { threshold: "7" })).toEqual({ ...keda.defaults, threshold: 7 });
    expect(settingsOf(keda, { treshold: "7" })).toContain("keda has no setting treshold. It has threshold");
    expect(settingsOf(keda, { threshold: "-1" })).toContain('not "-1"');
    expect(settingsOf(keda, { threshold: "" })).toContain('not ""');
    expect(new Set(policyKinds.map(({ name }) => name)).size).toBe(policyKinds.length);
  });
});
