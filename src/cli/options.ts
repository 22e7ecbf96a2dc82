/** Parsers of option values, for commander: a bad value ends the command with a usage error. Pure. */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "./amounts.ts";

/** A whole number from `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`A whole number from ${min} to ${max} is expected.`);
  };
}

/** A number from `min` to `max`. */
export function decimalNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`A number from ${min} to ${max} is expected.`);
  };
}

/** "10m" -> 600 seconds. */
export function duration(text: string): number {
  const seconds = parseDuration(text);
  if (seconds !== null) return seconds;
  throw new InvalidArgumentError("A time like 30s, 10m, 2h or 3d is expected, at most 31d.");
}

/** Collects a repeatable option. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}
