/** What all clients ask, so that their answers can be compared: a sum, a tool that adds, a schema of two numbers. */

export const model = "berth/starter";
export const question = "What is 3 + 4?";

/** JSON schema of the tool's arguments and of structured answers alike. */
export const sumSchema = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "integer" } },
  required: ["a", "b"],
  additionalProperties: false,
} as const;

export type Sum = { readonly a: number; readonly b: number };

export function isSum(value: unknown): value is Sum {
  if (typeof value !== "object" || value === null) return false;
  const { a, b, ...rest } = value as Record<string, unknown>;
  return Number.isInteger(a) && Number.isInteger(b) && Object.keys(rest).length === 0;
}
