/** `--set name=value`: the API's typed engine knobs on the command line. Pure; the API judges names and values. */
import { InvalidArgumentError } from "commander";

export type Knobs = Readonly<Record<string, string | number | boolean | null>>;

/** Collects `name=value`; an empty value takes the knob back. */
export function collectKnob(text: string, before: Knobs | undefined): Knobs {
  const [, name = "", value = ""] = /^([a-z_]+)=(.*)$/s.exec(text) ?? [];
  if (name === "")
    throw new InvalidArgumentError("name=value is expected, for example max_context_size=8192.");
  return { ...before, [name]: readValue(value) };
}

function readValue(text: string): string | number | boolean | null {
  if (text === "") return null;
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : text;
}
