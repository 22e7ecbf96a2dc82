/**
 * KubeAI's autoscaler, as in internal/modelautoscaler/autoscaler.go of github.com/kubeai-project/kubeai at f442a2c: requests
 * that are open, seen every `interval`, averaged over `timeWindow`, by `targetRequests` of an instance. Down only when that was
 * so for `scaleDownDelaySeconds`. The first request of a model at zero wakes it at once. Defaults are its Helm chart's.
 */
import type { PolicyKind, View } from "../policy.ts";

export const kubeai: PolicyKind = {
  name: "kubeai",
  defaults: { interval: 10, timeWindow: 600, targetRequests: 100, scaleDownDelaySeconds: 30 },
  create({ interval = 0, timeWindow = 0, targetRequests = 0, scaleDownDelaySeconds = 0 }) {
    const window = Math.max(1, Math.floor(timeWindow / interval));
    const looksDown = Math.ceil(scaleDownDelaySeconds / interval);
    const seen: number[] = [];
    let nextMs = 0;
    let fewer = 0;
    return {
      everyMs: interval * 1000,
      looksAtOnce: "asleep",
      decide({ nowMs, queued, running, live }: View) {
        if (live === 0 && queued + running > 0) return 1;
        if (nowMs < nextMs) return live;
        nextMs = nowMs + interval * 1000;
        seen.push(queued + running);
        if (seen.length > window) seen.shift();
        const average = seen.reduce((sum, work) => sum + work, 0) / seen.length;
        const wanted = Math.ceil(average / targetRequests);
        if (wanted >= live) {
          fewer = 0;
          return wanted;
        }
        fewer += 1;
        return fewer > looksDown ? wanted : live;
      },
    };
  },
};
