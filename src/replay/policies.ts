/** The policies there are, by name, and how one is set up from what a person wrote. */
import { berth } from "./policies/berth.ts";
import { keda } from "./policies/keda.ts";
import { knative } from "./policies/knative.ts";
import { kubeai } from "./policies/kubeai.ts";
import { skyserve } from "./policies/skyserve.ts";
import type { PolicyKind } from "./policy.ts";

export const policyKinds: readonly PolicyKind[] = [berth, kubeai, skyserve, knative, keda];

/** @returns the kind, or a sentence that says which there are */
export function findPolicy(name: string): PolicyKind | string {
  const found = policyKinds.find((kind) => kind.name === name);
  const names = policyKinds.map((kind) => kind.name).join(", ");
  return found ?? `There is no policy ${name}. There are ${names}.`;
}

/** @returns the defaults with what was given, or a sentence about what is wrong */
export function settingsOf(
  kind: PolicyKind,
  given: Readonly<Record<string, string>>,
): Record<string, number> | string {
  const settings: Record<string, number> = { ...kind.defaults };
  for (const [name, text] of Object.entries(given)) {
    if (!(name in settings)) {
      return `${kind.name} has no setting ${name}. It has ${Object.keys(kind.defaults).join(", ")}.`;
    }
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < 0)
      return `${name} takes a number of 0 or more, not "${text}".`;
    settings[name] = value;
  }
  return settings;
}
