/**
 * SkyServe's request rate autoscaler, as in sky/serve/autoscalers.py and service_spec.py of github.com/skypilot-org/skypilot:
 * requests a second over `qps_window_size`, by `target_qps_per_replica`, looked at every `decision_interval`. What is wanted has
 * to be so for `upscale_delay_seconds` or `downscale_delay_seconds`; from zero it is done at once.
 */
import type { PolicyKind, View } from "../policy.ts";

export const skyserve: PolicyKind = {
  name: "skyserve",
  defaults: {
    target_qps_per_replica: 1,
    qps_window_size: 60,
    decision_interval: 20,
    upscale_delay_seconds: 300,
    downscale_delay_seconds: 1200,
  },
  create(settings, { minInstances, maxInstances }) {
    const { target_qps_per_replica: target = 0, qps_window_size: windowS = 0 } = settings;
    const { decision_interval: intervalS = 0, upscale_delay_seconds: upS = 0 } = settings;
    const { downscale_delay_seconds: downS = 0 } = settings;
    /** What had arrived at earlier looks, back to the beginning of the window. */
    const looks: { readonly atMs: number; readonly arrived: number }[] = [{ atMs: 0, arrived: 0 }];
    let held = minInstances;
    let more = 0;
    let fewer = 0;
    return {
      everyMs: intervalS * 1000,
      looksAtOnce: "never",
      decide({ nowMs, arrived }: View) {
        looks.push({ atMs: nowMs, arrived });
        while ((looks[1]?.atMs ?? nowMs) <= nowMs - windowS * 1000) looks.shift();
        const qps = (arrived - (looks[0]?.arrived ?? 0)) / windowS;
        const wanted = Math.min(maxInstances, Math.max(minInstances, Math.ceil(qps / target)));
        more = wanted > held ? more + 1 : 0;
        fewer = wanted < held ? fewer + 1 : 0;
        if (held === 0 || more >= Math.max(1, Math.floor(upS / intervalS))) [held, more] = [wanted, 0];
        else if (fewer >= Math.max(1, Math.floor(downS / intervalS))) [held, fewer] = [wanted, 0];
        return held;
      },
    };
  },
};
