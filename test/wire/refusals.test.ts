/**
 * Generated inputs to every operation of the route table, from right to hostile: never an undocumented 5xx, nothing of a
 * refused request is stored, and each refusal has its documented shape.
 */
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { anyBody, hostile, hostileText } from "./arbitrary.ts";
import { startRealApi } from "./real-api.ts";
import { keyOf, requestFor, startWorld } from "./world.ts";

/** pydantic's names, as far as Berth's shapes can break: https://docs.pydantic.dev/latest/errors/validation_errors/ */
const issueTypes = new Set(
  `missing string_type string_too_short string_too_long string_pattern_mismatch enum literal_error int_type int_parsing
  int_from_float finite_number float_type float_parsing bool_type bool_parsing list_type dict_type too_short too_long
  greater_than greater_than_equal less_than less_than_equal model_attributes_type extra_forbidden value_error json_invalid
  union_tag_invalid union_tag_not_found none_required invalid_key`.split(/\s+/),
);

const refusals = new Set([400, 401, 402, 403, 404, 405, 409, 410, 413, 422, 423, 429, 501]);

const table = await startRealApi();
const operations = table.operations;
await table.close();

test.each(operations.map((each) => [keyOf(each), each] as const))("%s", async (key, operation) => {
  const world = await startWorld();
  onTestFinished(() => world.close());
  const token = operation.access === "administrator" ? world.tokens.root : world.tokens.ann;
  const { method, url } = requestFor(operation, world.ids);
  const { body: bodyShape, query: queryShape } = operation.schemas;
  const bodies = bodyShape === null ? hostile : anyBody(bodyShape);
  const names =
    queryShape === null ? ["x"] : [...Object.keys((queryShape as { shape?: object }).shape ?? {}), "x"];
  const queries = fc.dictionary(fc.constantFrom(...names), hostileText, {
    maxKeys: 4,
    noNullPrototype: true,
  });
  const parts = fc.option(hostileText, { nil: null, freq: 6 });

  await fc.assert(
    fc.asyncProperty(bodies, queries, parts, fc.boolean(), async (body, query, part, hasQuery) => {
      const path = url.replace(/\?.*$/, "");
      // Now and then something else stands where the path ends.
      const aimed = part === null ? path : path.replace(/[^/]*$/, encodeURIComponent(part.toWellFormed()));
      const given = hasQuery ? url.replace(/^[^?]*\??/, "") : "";
      const more = Object.entries(query).map(
        ([name, text]) => `${name}=${encodeURIComponent(text.toWellFormed())}`,
      );
      const target = `${part !== null && path === url ? aimed : path}?${[given, ...more].filter(Boolean).join("&")}`;
      const before = world.dump();
      const pokes = world.poked.length;
      const text = method === "GET" ? undefined : JSON.stringify(body);
      const answer = await world.call(method, target, { body: text, token });
      const what = `${answer.status} for ${method} ${target} ${text}: ${answer.text.slice(0, 300)}`;
      if (answer.status < 300) return;
      expect(refusals.has(answer.status), what).toBe(true);
      expect(answer.json, what).toMatchObject({ error: expect.stringMatching(/./) });
      if (answer.status === 422) {
        const { detail } = answer.json as { detail: { loc: unknown[]; msg: string; type: string }[] };
        expect(detail.length, what).toBeGreaterThan(0);
        for (const issue of detail) {
          expect(issueTypes.has(issue.type), `${issue.type} in ${what}`).toBe(true);
          expect(
            issue.loc.every((each) => typeof each === "string" || Number.isInteger(each)),
            what,
          ).toBe(true);
          expect(issue.msg, what).toMatch(/./);
        }
      }
      expect(world.dump(), what).toBe(before);
      expect(world.poked, what).toHaveLength(pokes);
    }),
    { numRuns: 40 },
  );
  expect(world.logged.join(), key).not.toContain("failed unexpectedly");
});
