/**
 * docs/reference/compatibility.md: each of DeepInfra's published operations, and whether Berth has it or why not; and what
 * Berth has besides. Pure: the published list and Berth's own are values, so that the page cannot say anything else.
 */
import { templateOf } from "../../src/schema/openapi.ts";
import { reasonUnavailable } from "../../src/schema/unavailable.ts";

type Known = {
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly summary: string;
};

/** @param published `METHOD /path/{template}` of each published operation */
export function compatibilityPage(published: readonly string[], ours: readonly Known[]): string {
  const own = new Map(ours.map((each) => [`${each.method} ${templateOf(each.path)}`, each]));
  const has = (key: string) => own.has(key) || own.has(withoutSlash(key));
  const had = published.filter(has);
  const lacking = Map.groupBy(
    published.filter((key) => !has(key)),
    whyNot,
  );
  const known = new Set(published.map(withoutSlash));
  const besides = [...own].filter(([key]) => !known.has(key));
  return `
# Compatibility

DeepInfra's API as published in March 2026 (OpenAPI "DeepApi" 0.1.0, ${published.length} operations), against this version of
Berth. What Berth has answers in the published shapes, with the published names: \`GET /openapi.json\` is its own document.
What it has not answers 501 with the reason. A newer generation of DeepInfra's API is understood too, as far as it is known:
its additions are in the last table.

## What Berth has (${had.length})

| operation | what |
|---|---|
${had.map((key) => `| \`${key}\` | ${(own.get(key) ?? own.get(withoutSlash(key)))?.summary ?? ""} |`).join("\n")}

## What it has not (${published.length - had.length})

| operations | why |
|---|---|
${[...lacking].map(([reason, keys]) => `| ${keys.map((key) => `\`${key}\``).join(", ")} | ${reason} |`).join("\n")}

## What it has besides (${besides.length})

| operation | what |
|---|---|
${besides.map(([key, { summary }]) => `| \`${key}\` | ${summary} |`).join("\n")}
`;
}

function whyNot(key: string): string {
  const [method = "", path = ""] = key.split(" ");
  return reasonUnavailable(method, path.replace(/\{\w+\}/g, "x")) ?? "Not in this version yet.";
}

/** A trailing slash is the same path. */
function withoutSlash(key: string): string {
  return key.replace(/(.)\/$/, "$1");
}
