import { expect, test } from "vitest";
import { z } from "zod";
import { gpuTypes } from "../core/deployment.ts";
import { weekdays } from "../core/schedule.ts";
import { statuses } from "../core/status.ts";
import { deployLlmIn, gpuNames, statusNames } from "./deploy.ts";
import { laxInt } from "./lax.ts";
import { dayNames } from "./schedule.ts";
import { checkInput, describeIssues, valueError } from "./validation.ts";

const shape = z.object({
  name: z.string().min(2).max(4).optional(),
  letter: z.enum(["a", "b", "c"]).optional(),
  only: z.enum(["a"]).optional(),
  whole: laxInt(z.int().min(1).max(8)).optional(),
  above: laxInt(z.int().gt(0).lt(9)).optional(),
  flag: z.boolean().optional(),
  list: z.array(z.string()).min(1).max(2).optional(),
  dict: z.record(z.string(), z.string()).optional(),
  inner: z.object({ repo: z.string() }).nullish(),
  digits: z.string().regex(/^\d+$/).optional(),
  even: z
    .number()
    .refine((value) => value % 2 === 0, "it is odd")
    .optional(),
});

const int = "Input should be a valid integer";
test.each([
  [{ name: 1 }, ["name"], "string_type", "Input should be a valid string"],
  [{ name: null }, ["name"], "string_type", "Input should be a valid string"],
  [{ name: "x" }, ["name"], "string_too_short", "String should have at least 2 characters"],
  [{ name: "xxxxx" }, ["name"], "string_too_long", "String should have at most 4 characters"],
  [{ letter: "d" }, ["letter"], "enum", "Input should be 'a', 'b' or 'c'"],
  [{ letter: 4 }, ["letter"], "enum", "Input should be 'a', 'b' or 'c'"],
  [{ only: "d" }, ["only"], "enum", "Input should be 'a'"],
  [{ whole: null }, ["whole"], "int_type", int],
  [{ whole: [1] }, ["whole"], "int_type", int],
  [{ whole: {} }, ["whole"], "int_type", int],
  [{ whole: "x" }, ["whole"], "int_parsing", `${int}, unable to parse string as an integer`],
  [{ whole: "1.5" }, ["whole"], "int_parsing", `${int}, unable to parse string as an integer`],
  [{ whole: "" }, ["whole"], "int_parsing", `${int}, unable to parse string as an integer`],
  [{ whole: 1.5 }, ["whole"], "int_from_float", `${int}, got a number with a fractional part`],
  [{ whole: Number.POSITIVE_INFINITY }, ["whole"], "finite_number", "Input should be a finite number"],
  [{ whole: 0 }, ["whole"], "greater_than_equal", "Input should be greater than or equal to 1"],
  [{ whole: "9" }, ["whole"], "less_than_equal", "Input should be less than or equal to 8"],
  [{ whole: false }, ["whole"], "greater_than_equal", "Input should be greater than or equal to 1"],
  [{ whole: 1e300 }, ["whole"], "less_than_equal", "Input should be less than or equal to 8"],
  [{ above: 0 }, ["above"], "greater_than", "Input should be greater than 0"],
  [{ above: 9 }, ["above"], "less_than", "Input should be less than 9"],
  [{ flag: "x" }, ["flag"], "bool_type", "Input should be a valid boolean"],
  [{ list: "x" }, ["list"], "list_type", "Input should be a valid list"],
  [{ list: [1] }, ["list", 0], "string_type", "Input should be a valid string"],
  [{ list: [] }, ["list"], "too_short", "List should have at least 1 item after validation"],
  [{ list: ["", "", ""] }, ["list"], "too_long", "List should have at most 2 items after validation"],
  [{ dict: 1 }, ["dict"], "dict_type", "Input should be a valid dictionary"],
  [
    { inner: "x" },
    ["inner"],
    "model_attributes_type",
    "Input should be a valid dictionary or object to extract fields from",
  ],
  [{ inner: {} }, ["inner", "repo"], "missing", "Field required"],
  [{ digits: "a" }, ["digits"], "string_pattern_mismatch", "String should match pattern '^\\d+$'"],
  [{ even: 1 }, ["even"], "value_error", "Value error, it is odd"],
  [undefined, [], "missing", "Field required"],
  [[], [], "model_attributes_type", "Input should be a valid dictionary or object to extract fields from"],
])("%j is refused as pydantic would", (input, path, type, msg) => {
  expect(checkInput(shape, input, "body")).toEqual({
    ok: false,
    issues: [{ loc: ["body", ...path], type, msg }],
  });
});

test.each([
  [2, 2],
  ["2", 2],
  [" 2 ", 2],
  ["+2", 2],
  ["2.0", 2],
  ["0_2", 2],
  [2.0, 2],
  [true, 1],
])("an integer may be written as %j", (input, value) => {
  expect(checkInput(shape, { whole: input }, "body")).toEqual({ ok: true, value: { whole: value } });
});

test("every issue is reported, none repeats what was sent", () => {
  const outcome = checkInput(
    deployLlmIn,
    { model_name: 7, gpu: "TPU", num_gpus: 9, hf: { repo: "a/b", token: ["hf_secret"] } },
    "body",
  );
  if (outcome.ok) throw new Error("it was accepted");
  expect(outcome.issues.map((issue) => issue.loc.join("."))).toEqual([
    "body.model_name",
    "body.gpu",
    "body.num_gpus",
    "body.hf.token",
  ]);
  expect(JSON.stringify(outcome.issues)).not.toContain("hf_secret");
  expect(describeIssues(outcome.issues)).toContain("num_gpus: Input should be less than or equal to 8");
});

test("defaults and nulls of POST /deploy/llm", () => {
  const outcome = checkInput(
    deployLlmIn,
    { model_name: "m", gpu: "other", hf: null, settings: {}, unknown: 1 },
    "body",
  );
  expect(outcome).toEqual({
    ok: true,
    value: {
      model_name: "m",
      gpu: "other",
      num_gpus: 1,
      max_batch_size: 96,
      hf: null,
      settings: { min_instances: 1, max_instances: 1 },
    },
  });
});

test("a sentence of our own is repeated without pydantic's prefix", () => {
  const issue = valueError(["body", "hf"], "Send one of hf and base_model.");
  expect(issue.msg).toBe("Value error, Send one of hf and base_model.");
  expect(describeIssues([issue])).toBe("Send one of hf and base_model.");
});

test("the wire knows the core's words", () => {
  expect(gpuNames).toEqual(gpuTypes);
  expect(dayNames).toEqual(weekdays);
  expect(statusNames).toEqual(statuses);
});
