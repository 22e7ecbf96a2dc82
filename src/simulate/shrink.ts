/** Makes a scenario that breaks a rule as small as it can while it breaks the same rule. */
import { simulate } from "./run.ts";
import type { Scenario } from "./scenario.ts";

export function shrink(scenario: Scenario, rule: string): Scenario {
  const fails = (candidate: Scenario) => simulate(candidate).violations[0]?.rule === rule;
  let best = scenario;
  for (
    let size = Math.ceil(best.happenings.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < best.happenings.length; ) {
      const happenings = best.happenings.filter((_, index) => index < from || index >= from + size);
      const candidate = { ...best, happenings };
      if (fails(candidate)) best = candidate;
      else from += size;
    }
  }
  for (const { id } of best.deployments) {
    const candidate = { ...best, deployments: best.deployments.filter((one) => one.id !== id) };
    if (fails(candidate)) best = candidate;
  }
  return best;
}
