/**
 * A person's own measurements of a model, in place of the tables that Berth brings: a file of JSON with milliseconds by amount,
 * `{"name": "…", "prompt_ms": {"512": 84, "2048": 310}, "token_ms": {"1": 37, "32": 52}}`. Reads text alone.
 */
import { z } from "zod";
import type { Curve, ServiceTable } from "./service-table.ts";

const curve = z
  .record(
    z.string().regex(/^[1-9]\d{0,8}$/, "an amount has to be a whole number"),
    z.number().positive().finite(),
  )
  .refine((points) => Object.keys(points).length > 0, "at least one amount has to be named");
const serviceFile = z.strictObject({
  name: z.string().min(1).max(200).default("own measurements"),
  prompt_ms: curve,
  token_ms: curve,
});

/** @returns the table, or a sentence about what is wrong with the text */
export function readService(text: string): ServiceTable | string {
  const form = '{"prompt_ms": {"512": 84}, "token_ms": {"1": 37}}';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return `It is no JSON. The form is ${form}.`;
  }
  const found = serviceFile.safeParse(value);
  if (!found.success) {
    const [issue] = found.error.issues;
    return `${issue?.path.join(".") || "It"}: ${issue?.message}. The form is ${form}.`;
  }
  const { name, prompt_ms, token_ms } = found.data;
  return { name, promptMs: sorted(prompt_ms), tokenMs: sorted(token_ms) };
}

function sorted(points: Readonly<Record<string, number>>): Curve {
  return Object.entries(points)
    .map(([amount, ms]) => [Number(amount), ms] as const)
    .sort(([a], [b]) => a - b);
}
