import { text } from "node:stream/consumers";
import { array, assert, asyncProperty, jsonValue, nat } from "fast-check";
import { expect, test } from "vitest";
import { WrittenList } from "./written-list.ts";

test("leaves as the text of a list, in however many pieces", async () => {
  const elements = array(jsonValue(), { maxLength: 20 });
  await assert(
    asyncProperty(elements, nat({ max: 100_000 }), async (values, padding) => {
      const list = [...values, "ä".repeat(padding), null];
      const written = new WrittenList(list.map((value) => JSON.stringify(value)));
      expect(await text(written.stream())).toBe(JSON.stringify(list));
    }),
    { numRuns: 30 },
  );
  expect(await text(new WrittenList([]).stream())).toBe("[]");
});
