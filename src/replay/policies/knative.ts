/**
 * Knative's pod autoscaler on concurrency, as in pkg/autoscaler/scaling/autoscaler.go of github.com/knative/serving and the
 * defaults of its config-autoscaler: open requests averaged over the stable window and over a short one, which counts when it
 * asks for `panic-threshold-percentage` of what is ready; then nothing is given up until the panic is a stable window old.
 */
import type { PolicyKind, View } from "../policy.ts";

const tickMs = 2_000;

export const knative: PolicyKind = {
  name: "knative",
  defaults: {
    "container-concurrency-target-default": 100,
    "container-concurrency-target-percentage": 70,
    "stable-window": 60,
    "panic-window-percentage": 10,
    "panic-threshold-percentage": 200,
    "max-scale-up-rate": 1000,
    "max-scale-down-rate": 2,
    "scale-down-delay": 0,
  },
  create(settings) {
    const of = (name: string) => settings[name] ?? 0;
    const target =
      (of("container-concurrency-target-default") * of("container-concurrency-target-percentage")) / 100;
    const stableMs = of("stable-window") * 1000;
    const panicMs = (stableMs * of("panic-window-percentage")) / 100;
    const looks: { readonly atMs: number; readonly workMs: number }[] = [{ atMs: 0, workMs: 0 }];
    const wishes: { readonly atMs: number; readonly wanted: number }[] = [];
    let panicAtMs: number | null = null;
    let panicPods = 0;

    const average = (view: View, windowMs: number) => {
      const from = looks.findLast(({ atMs }) => atMs <= view.nowMs - windowMs) ?? looks[0];
      const sinceMs = view.nowMs - (from?.atMs ?? 0);
      return sinceMs === 0 ? view.queued + view.running : (view.workMs - (from?.workMs ?? 0)) / sinceMs;
    };
    const delayed = (nowMs: number, wanted: number) => {
      wishes.push({ atMs: nowMs, wanted });
      while ((wishes[0]?.atMs ?? nowMs) < nowMs - of("scale-down-delay") * 1000) wishes.shift();
      return wishes.reduce((most, wish) => Math.max(most, wish.wanted), 0);
    };
    return {
      everyMs: tickMs,
      looksAtOnce: "asleep",
      decide(view: View) {
        const { nowMs } = view;
        const ready = Math.max(1, view.ready);
        const bound = (count: number) =>
          Math.min(
            Math.max(count, Math.floor(ready / of("max-scale-down-rate"))),
            Math.ceil(of("max-scale-up-rate") * ready),
          );
        const forPanic = Math.ceil(average(view, panicMs) / target);
        let wanted = bound(Math.ceil(average(view, stableMs) / target));
        looks.push({ atMs: nowMs, workMs: view.workMs });
        while ((looks[1]?.atMs ?? nowMs) <= nowMs - stableMs) looks.shift();

        if (forPanic / ready >= of("panic-threshold-percentage") / 100) panicAtMs = nowMs;
        else if (panicAtMs !== null && panicAtMs + stableMs < nowMs) [panicAtMs, panicPods] = [null, 0];
        if (panicAtMs !== null) {
          panicPods = Math.max(panicPods, wanted, bound(forPanic));
          wanted = panicPods;
        }
        if (view.live === 0 && view.queued > 0) wanted = Math.max(1, wanted);
        return delayed(nowMs, wanted);
      },
    };
  },
};
