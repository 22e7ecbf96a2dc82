/**
 * The pages of docs/reference that are made from the code, so that they cannot drift: settings, errors, statuses, and how
 * far the API is DeepInfra's.
 * `node tools/reference-docs/write.ts` writes them; a test compares them with what is committed.
 */
import { readFileSync } from "node:fs";
import { failureCodes } from "../../src/core/failure.ts";
import { statusMeanings } from "../../src/core/status.ts";
import { httpErrors } from "../../src/schema/errors.ts";
import { inferenceOperations } from "../../src/schema/inference-operations.ts";
import { describeSettings } from "../../src/settings-read.ts";
import { startRealApi } from "../../test/wire/real-api.ts";
import { compatibilityPage } from "./compatibility.ts";

/** File name under docs/reference -> content. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["compatibility.md", `${notice}${compatibilityPage(readPublished(), await listOperations())}`],
    ["config.md", configPage()],
    ["errors.md", errorsPage()],
    ["statuses.md", statusesPage()],
  ]);
}

function readPublished(): string[] {
  const file = new URL("../../test/wire/published-operations.json", import.meta.url);
  return Object.keys(JSON.parse(readFileSync(file, "utf8")) as object);
}

/** The route table as it really is: that of an API over an empty state, and the gateway's. */
async function listOperations() {
  const { operations, close } = await startRealApi();
  await close();
  return [...operations, ...inferenceOperations];
}

const notice = "<!-- Made by tools/reference-docs from the code; `npm run docs` writes it again. -->\n";

function configPage(): string {
  const rows = describeSettings().map(
    ({ name, yaml, fallback, text }) => `| \`${name}\` | ${yaml} | ${fallback} | ${text} |`,
  );
  return `${notice}
# Settings

Set them in the environment, or in \`$BERTH_HOME/berth.yaml\` under the key of the second column; the environment wins.
A value that cannot be used stops the start with its name, the value and what is allowed.

| environment | berth.yaml | default | what it does |
|---|---|---|---|
${rows.join("\n")}
`;
}

function errorsPage(): string {
  const http = Object.entries(httpErrors).map(
    ([code, { status, type, meaning }]) => `| \`${code}\` | ${status} | \`${type}\` | ${meaning} |`,
  );
  const failures = Object.entries(failureCodes).map(
    ([code, { retryable, meaning }]) => `| \`${code}\` | ${retryable ? "yes" : "no"} | ${meaning} |`,
  );
  return `${notice}
# Errors

## Answers over HTTP

The deploy API answers \`{"error": "text"}\`; validation (422) a \`detail\` list of \`{loc, msg, type}\`, and
\`POST /deploy/llm\` both together. The OpenAI endpoints answer \`{"error": {"message", "type", "param", "code"}}\`.

| code | status | OpenAI type | meaning |
|---|---|---|---|
${http.join("\n")}

## Failures of deployments

The events of a deployment (\`GET /deploy/{deploy_id}/events\`) carry these codes; when Berth gives up, the text is in
\`fail_reason\`. Those tried again are tried with growing pauses; a deployment that has run before is tried for ever.

| code | tried again | meaning |
|---|---|---|
${failures.join("\n")}
`;
}

function statusesPage(): string {
  const rows = Object.entries(statusMeanings).map(([status, meaning]) => `| \`${status}\` | ${meaning} |`);
  return `${notice}
# Statuses

A status is computed from stored facts at every read; it is never stored itself.

| status | meaning |
|---|---|
${rows.join("\n")}
`;
}
