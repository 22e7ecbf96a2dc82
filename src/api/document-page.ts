/** The OpenAPI document as a page for people: plain HTML that needs no script and nothing from elsewhere. Pure. */
import type { Json, JsonObject } from "../schema/openapi.ts";

const style = `
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: 0 .8rem; }
summary { cursor: pointer; padding: .5rem 0; }
summary b { display: inline-block; min-width: 4.2rem; font-family: ui-monospace, monospace; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; border-top: 1px solid var(--line); padding: .6rem 0; margin: .4rem 0; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
.soft { color: var(--soft); }
`;

export function documentPage(document: JsonObject): string {
  const { info, paths, components } = document as {
    info: { title: string; version: string; summary: string };
    paths: Record<string, Record<string, OperationObject>>;
    components: { schemas: Record<string, Json> };
  };
  const operations = Object.entries(paths).flatMap(([path, own]) =>
    Object.entries(own).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  const groups = Map.groupBy(operations, ({ path }) => groupOf(path));
  const sections = [...groups].map(
    ([group, own]) =>
      `<h2>${escapeHtml(group)}</h2>${own.map((each) => operationHtml(each.method, each.path, each.operation)).join("")}`,
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="${escapeHtml(name)}"><summary><code>${escapeHtml(name)}</code></summary>${schemaHtml(schema)}</details>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(info.title)} API</title><style>${style}</style></head><body>
<h1>${escapeHtml(info.title)} API <span class="soft">${escapeHtml(info.version)}</span></h1>
<p>${escapeHtml(info.summary)} A token goes into <code>Authorization: Bearer …</code>, <code>xi-api-key</code> or
<code>x-api-key</code>. The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>
${sections.join("\n")}
<h2>Shapes</h2>
${schemas.join("\n")}
</body></html>
`;
}

type OperationObject = {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly security: readonly Record<string, Json>[];
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: Json }[];
  readonly requestBody?: { content: Record<string, { schema: Json }> };
  readonly responses: Record<string, { description: string; content: Record<string, { schema: Json }> }>;
};

/** The first word of the path, past `/v1`: what an operation is about. */
function groupOf(path: string): string {
  return path.replace(/^\/v\d+(?=\/)/, "").split("/")[1] ?? "";
}

function operationHtml(method: string, path: string, operation: OperationObject): string {
  const isPublic = operation.security.some((way) => Object.keys(way).length === 0);
  const remarks = [operation.description ?? "", isPublic ? "Also without a token." : ""].filter(
    (remark) => remark !== "",
  );
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: where, required, schema }) =>
      `<tr><td><code>${escapeHtml(name)}</code></td><td class="soft">${escapeHtml(where)}${required ? ", required" : ""}</td><td><code>${escapeHtml(JSON.stringify(schema))}</code></td></tr>`,
  );
  const answers = Object.entries(operation.responses).map(
    ([status, { description, content }]) =>
      `<tr><td><code>${escapeHtml(status)}</code></td><td>${escapeHtml(description)}</td><td>${referenceHtml(schemaIn(content))}</td></tr>`,
  );
  const body = operation.requestBody === undefined ? null : schemaIn(operation.requestBody.content);
  return `<details><summary><b>${escapeHtml(method)}</b> <code>${escapeHtml(path)}</code> <span class="soft">${escapeHtml(operation.summary)}</span></summary>
<p class="soft"><code>${escapeHtml(operation.operationId)}</code> ${escapeHtml(remarks.join(" "))}</p>
${parameters.length === 0 ? "" : `<h4>Parameters</h4><table>${parameters.join("")}</table>`}
${body === null ? "" : `<h4>Body</h4>${referenceHtml(body)}`}
<h4>Answers</h4><table>${answers.join("")}</table></details>`;
}

function schemaIn(content: Record<string, { schema: Json }>): Json {
  return content["application/json"]?.schema ?? {};
}

/** A link to a named shape, else the shape itself. */
function referenceHtml(schema: Json): string {
  const name = /^#\/components\/schemas\/(\w+)$/.exec((schema as { $ref?: string }).$ref ?? "")?.[1];
  return name === undefined ? schemaHtml(schema) : `<a href="#${name}"><code>${name}</code></a>`;
}

function schemaHtml(schema: Json): string {
  return `<pre>${escapeHtml(JSON.stringify(schema, null, 2))}</pre>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
