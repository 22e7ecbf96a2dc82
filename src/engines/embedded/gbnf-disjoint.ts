/**
 * Whether two schemas can never hold for the same value: what makes `oneOf` the same as `anyOf`. Pure; says no when in
 * doubt. Part of the schema converter.
 */
import type { Schema } from "./gbnf-keywords.ts";

/** By their types, by their listed values, or by a property both require with values that differ. */
export function areDisjoint(a: Schema, b: Schema): boolean {
  if (typeof a === "boolean" || typeof b === "boolean") return false;
  if (a.nullable === true && b.nullable === true) return false;
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)];
  if (valuesA !== null && valuesB !== null) return valuesA.every((value) => !valuesB.includes(value));
  const [typesA, typesB] = [typesOf(a), typesOf(b)];
  if (typesA === null || typesB === null) return false;
  if (!typesA.some((type) => typesB.some((other) => areOverlapping(type, other)))) return true;
  const isObjects = [...typesA, ...typesB].every((type) => type === "object");
  return (
    isObjects &&
    a.nullable !== true &&
    b.nullable !== true &&
    requiredOf(a).some((name) => {
      const [inA, inB] = [propertyOf(a, name), propertyOf(b, name)];
      return requiredOf(b).includes(name) && inA !== undefined && inB !== undefined && areDisjoint(inA, inB);
    })
  );
}

function valuesOf(schema: { readonly [keyword: string]: unknown }): string[] | null {
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  return Array.isArray(schema.enum) ? schema.enum.map((value) => JSON.stringify(value)) : null;
}

function typesOf(schema: { readonly [keyword: string]: unknown }): string[] | null {
  if (schema.type === undefined) return null;
  const types = (Array.isArray(schema.type) ? schema.type : [schema.type]).map(String);
  return schema.nullable === true ? [...types, "null"] : types;
}

function areOverlapping(a: string, b: string): boolean {
  const isNumeric = (type: string) => type === "integer" || type === "number";
  return a === b || (isNumeric(a) && isNumeric(b));
}

function requiredOf(schema: { readonly [keyword: string]: unknown }): string[] {
  return Array.isArray(schema.required) ? schema.required.map(String) : [];
}

function propertyOf(schema: { readonly [keyword: string]: unknown }, name: string): Schema | undefined {
  const { properties } = schema;
  if (typeof properties !== "object" || properties === null || !Object.hasOwn(properties, name))
    return undefined;
  return (properties as Record<string, Schema>)[name];
}
