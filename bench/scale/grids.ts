/** The settings that are tried of each policy. What is not named has the policy's default. */

type Axes = Readonly<Record<string, readonly number[]>>;

const axes: Readonly<Record<string, Axes>> = {
  berth: {
    full: [0.06, 0.09, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 0.85],
    cover: [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 1],
  },
  kubeai: {
    targetRequests: [2, 3, 4, 6, 8, 12, 16, 20, 24, 32],
    timeWindow: [20, 60, 120, 300, 600],
    scaleDownDelaySeconds: [30, 120, 300],
  },
  skyserve: {
    target_qps_per_replica: [0.3, 0.5, 0.75, 1, 1.25, 1.5, 2, 3],
    qps_window_size: [20, 60, 120],
    upscale_delay_seconds: [20, 60, 300],
    downscale_delay_seconds: [60, 300, 1200],
  },
  knative: {
    "container-concurrency-target-default": [2, 3, 4, 6, 8, 12, 16, 24, 32, 45],
    "stable-window": [20, 60, 180, 600],
    "panic-threshold-percentage": [110, 200, 1000],
    "scale-down-delay": [0, 300],
  },
  keda: {
    threshold: [1, 2, 3, 5, 8, 12, 16, 20, 24, 32],
    pollingInterval: [5, 15],
    stabilizationWindowSeconds: [0, 60, 300, 600],
    runningWeight: [0, 1],
  },
};

/** Every combination. */
export function gridOf(policy: string): Record<string, number>[] {
  let all: Record<string, number>[] = [{}];
  for (const [name, values] of Object.entries(axes[policy] ?? {}))
    all = all.flatMap((one) => values.map((value) => ({ ...one, [name]: value })));
  return all;
}
