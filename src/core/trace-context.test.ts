import fc from "fast-check";
import { expect, test } from "vitest";
import { readTraceContext } from "./trace-context.ts";

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("a valid context is kept as it came", () => {
  expect(readTraceContext(parent, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE,,1a@b=x y")).toEqual({
    traceparent: parent,
    tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,1a@b=x y",
  });
  const later = `${parent.replace("00", "01")}-more`;
  expect(readTraceContext(later, undefined)).toEqual({ traceparent: later, tracestate: "" });
});

test.each([
  undefined,
  "",
  "00",
  `${parent}, ${parent}`,
  `${parent}-more`,
  parent.toUpperCase(),
  parent.replace("00-", "ff-"),
  parent.replace("0af7651916cd43dd8448eb211c80319c", "0".repeat(32)),
  parent.replace("b7ad6b7169203331", "0".repeat(16)),
  `${parent.replace("00", "01")}-${"x".repeat(300)}`,
])("%s is no context", (text) => {
  expect(readTraceContext(text, "a=b")).toBeNull();
});

test.each([
  "a",
  "=b",
  "A=b",
  "a=",
  "a=b,a=c",
  "a=b=c",
  "a=\u00e9",
  "a=b\r\nx: y",
  Array.from({ length: 33 }, (_, at) => `k${at}=v`).join(),
  `a=${"x".repeat(5000)}`,
])("a state of %j is dropped, the context is kept", (state) => {
  expect(readTraceContext(parent, state)).toEqual({ traceparent: parent, tracestate: "" });
});

test("whatever comes, what goes on is printable ASCII in one line", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string().map((end) => parent + end),
    fc.string().map((end) => `01${parent.slice(2)}-${end}`),
  );
  fc.assert(
    fc.property(text, fc.string({ unit: "binary" }), (a, b) => {
      const context = readTraceContext(a, b);
      expect(`${context?.traceparent}${context?.tracestate}`).toMatch(/^[\x20-\x7e]*$/);
    }),
  );
});
