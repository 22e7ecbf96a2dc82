import { expect, test } from "vitest";
import { writeExposition } from "./exposition.ts";

test("families with labels, escapes and odd values", () => {
  const samples = [
    { labels: {}, value: 1.5 },
    { labels: { a: 'x"y\\z\n', b: "" }, value: Number.NaN },
    { suffix: "_bucket", labels: { le: "+Inf" }, value: Number.POSITIVE_INFINITY },
  ];
  expect(writeExposition([{ name: "m", help: "Why.", type: "gauge", samples }])).toBe(
    '# HELP m Why.\n# TYPE m gauge\nm 1.5\nm{a="x\\"y\\\\z\\n",b=""} NaN\nm_bucket{le="+Inf"} +Inf\n',
  );
});
