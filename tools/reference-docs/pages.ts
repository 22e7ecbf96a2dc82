/**
 * The pages of docs/reference that are made from the code, so that they cannot drift: settings, errors, statuses.
 * `node tools/reference-docs/write.ts` writes them; a test compares them with what is committed.
 */
import { failureCodes } from "../../src/core/failure.ts";
import { statusMeanings } from "../../src/core/status.ts";
import { httpErrors } from "../../src/schema/errors.ts";
import { describeSettings } from "../../src/settings.ts";

/** File name under docs/reference -> content. */
export function referencePages(): ReadonlyMap<string, string> {
  return new Map([
    ["config.md", configPage()],
    ["errors.md", errorsPage()],
    ["statuses.md", statusesPage()],
  ]);
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
