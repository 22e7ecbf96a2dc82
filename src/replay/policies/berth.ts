/** Berth's own scaler (`core/scale`), as control uses it: it looks each second and whenever a request has to wait. */
import { decideScale, defaultTuning, noteWork } from "../../core/scale.ts";
import { WorkHistory } from "../../core/scale-history.ts";
import type { PolicyKind, Scaled, View } from "../policy.ts";

export const berth: PolicyKind = {
  name: "berth",
  defaults: {
    full: defaultTuning.fullness,
    window_s: defaultTuning.downAfterMs / 1000,
    cover: defaultTuning.cover,
  },
  create({ full = 0, window_s = 0, cover = 0 }, { minInstances, maxInstances, slots, loadMs }: Scaled) {
    const tuning = { ...defaultTuning, fullness: full, downAfterMs: window_s * 1000, cover };
    const history = new WorkHistory();
    const settings = { minInstances, maxInstances, inactiveShutdownS: null };
    return {
      everyMs: 1_000,
      looksAtOnce: "waiting",
      decide({ nowMs: now, queued, running, arrived, live, lastArrivalMs }: View) {
        const load = { queued, running, arrived, lastRequestAtMs: lastArrivalMs, inFlight: {} };
        noteWork(history, { load, now, loadTimeMs: loadMs }, tuning);
        return decideScale({
          settings,
          ...{ load, history, slots, loadTimeMs: loadMs, live, now, tuning },
          lastActivityMs: lastArrivalMs ?? 0,
          watchingSinceMs: Number.NEGATIVE_INFINITY,
          defaultInactiveShutdownMs: 900_000,
        }).wanted;
      },
    };
  },
};
