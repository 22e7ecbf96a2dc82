import { expect, test } from "vitest";
import { lastWords } from "./last-words.ts";

test.each([
  [[], null],
  [["", "  "], null],
  [["first", "loading the model...", ""], "loading the model"],
  [["Starting to load model /var/lib/berth/hub/x and/or more"], "Starting to load model a file and/or more"],
  [["cannot open '/etc/a b': no (see /x/y)"], "cannot open 'a file b': no (see a file)"],
])("%j", (lines, words) => {
  expect(lastWords(lines)).toBe(words);
});

test("they are bounded", () => {
  expect(lastWords(["x".repeat(5000)])).toHaveLength(200);
});
