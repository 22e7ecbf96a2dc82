/**
 * Numbers as clients really send them. DeepInfra's own server takes an integer also as `"2"`, `2.0` or `true`, so Berth
 * does. Owns that conversion; what cannot be converted is passed on unchanged, so that the error names what was sent.
 */
import { z } from "zod";

/** Digits with an optional sign and an optional fraction of zeros; inner underscores as in `1_000`. */
const integerText = /^[+-]?\d+(?:_\d+)*(?:\.0*)?$/;

/** Takes what pydantic's lax mode takes for an integer: integers, whole floats, booleans and texts of integers. */
export function laxInt(rule: z.ZodNumber) {
  return z.preprocess((value: number) => toInteger(value), rule);
}

function toInteger(value: unknown): unknown {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value !== "string") return value;
  const text = value.trim();
  return integerText.test(text) ? Number(text.replaceAll("_", "")) : value;
}
