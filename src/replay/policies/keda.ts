/**
 * KEDA as vLLM's production stack sets it up (docs/source/use_cases/autoscaling-keda.rst of
 * github.com/vllm-project/production-stack): waiting requests by `threshold`, polled every `pollingInterval`, carried out by
 * Kubernetes' HorizontalPodAutoscaler with its defaults (kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale):
 * a tolerance, the most that was wanted within the stabilization window, at most twice as many or four more a poll. Its trigger
 * on traffic keeps one instance while requests come.
 *
 * `runningWeight` is not theirs: 1 counts running requests too, which other guides advise; so that it is not their choice of
 * signal alone that is compared.
 */
import type { PolicyKind, View } from "../policy.ts";

const keepAliveMs = 60_000;

export const keda: PolicyKind = {
  name: "keda",
  defaults: {
    threshold: 5,
    pollingInterval: 15,
    stabilizationWindowSeconds: 300,
    tolerance: 0.1,
    runningWeight: 0,
  },
  create({
    threshold = 0,
    pollingInterval = 0,
    stabilizationWindowSeconds = 0,
    tolerance = 0,
    runningWeight = 0,
  }) {
    const wishes: { readonly atMs: number; readonly wanted: number }[] = [];
    return {
      everyMs: pollingInterval * 1000,
      looksAtOnce: "never",
      decide({ nowMs, queued, running, unstarted, live, lastArrivalMs }: View) {
        const waiting = queued + unstarted;
        const metric = waiting + runningWeight * (running - unstarted);
        const isUsed = lastArrivalMs !== null && lastArrivalMs > nowMs - keepAliveMs;
        const ratio = metric / (threshold * Math.max(1, live));
        const isTolerable = live > 0 && Math.abs(ratio - 1) <= tolerance;
        const asked = Math.max(isUsed ? 1 : 0, isTolerable ? live : Math.ceil(metric / threshold));
        const wanted = Math.min(asked, Math.max(2 * live, live + 4));
        // Those of the window come before the one of now, which always counts: without a window it alone does.
        while (wishes[0] !== undefined && wishes[0].atMs <= nowMs - stabilizationWindowSeconds * 1000)
          wishes.shift();
        wishes.push({ atMs: nowMs, wanted });
        const most = wishes.reduce((so, wish) => Math.max(so, wish.wanted), 0);
        return wanted >= live ? wanted : Math.min(live, most);
      },
    };
  },
};
