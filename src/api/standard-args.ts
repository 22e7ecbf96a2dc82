/** The typed engine knobs between the wire and the core. Pure. */
import type { EngineArgs } from "../core/deployment.ts";
import { type StandardArg, type StandardArgs, standardKnobs } from "../core/standard-args.ts";
import {
  type StandardArgsIn,
  type StandardArgsOut,
  standardArgsIn,
  standardArgsOut,
} from "../schema/standard-args.ts";

/** Null and absent are the same: the engine's own choice. */
export function readStandardArgs(given: StandardArgsIn): StandardArgs {
  const wire = standardArgsIn.parse(given);
  const set = knobs().flatMap(([knob, { wire: name }]) => {
    const value = wire[name as keyof StandardArgsIn];
    return value === undefined || value === null ? [] : [[knob, value] as const];
  });
  return Object.fromEntries(set) as StandardArgs;
}

export function toStandardArgsOut(args: StandardArgs): StandardArgsOut {
  const set = knobs().flatMap(([knob, { wire }]) =>
    args[knob] === undefined ? [] : [[wire, args[knob]] as const],
  );
  return standardArgsOut.parse(Object.fromEntries(set));
}

/** For example "max_context_size 4096, extra_args --threads 2"; "the engine's own" where nothing is set. */
export function describeArgs({ standardArgs, extraArgs }: EngineArgs): string {
  const set = Object.entries(toStandardArgsOut(standardArgs)).map(([name, value]) => `${name} ${value}`);
  if (extraArgs.length > 0) set.push(`extra_args ${extraArgs.join(" ")}`);
  return set.length === 0 ? "the engine's own" : set.join(", ");
}

function knobs() {
  return Object.entries(standardKnobs) as [StandardArg, (typeof standardKnobs)[StandardArg]][];
}
