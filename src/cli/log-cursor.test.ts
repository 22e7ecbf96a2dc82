import fc from "fast-check";
import { expect, test } from "vitest";
import { createLogCursor } from "./log-cursor.ts";

const texts = (lines: readonly { text: string }[]) => lines.map((line) => line.text);

test("lines of several instances come in the order of their times", () => {
  const cursor = createLogCursor();
  const lines = cursor.take({
    a: [
      ["10.000000000", "first"],
      ["12.500000000", "third"],
    ],
    b: [["11.000000000", "second"]],
  });
  expect(texts(lines)).toEqual(["first", "second", "third"]);
});

test("a look begins before the newest line, and what was seen is left out", () => {
  const cursor = createLogCursor();
  expect(cursor.from()).toBe("0.000000000");
  cursor.take({ a: [["100.250000000", "one"]] });
  expect(cursor.from()).toBe("95.250000000");
  const again = cursor.take({
    a: [
      ["100.250000000", "one"],
      ["100.250000000", "same time"],
    ],
    b: [["99.000000000", "late"]],
  });
  expect(texts(again)).toEqual(["late", "same time"]);
});

test("--since is where reading begins", () => {
  const cursor = createLogCursor();
  cursor.startAt(1_000.9);
  expect(cursor.from()).toBe("1000.000000000");
  cursor.take({ a: [["1001.000000000", "one"]] });
  expect(cursor.from()).toBe("1000.000000000");
});

test("after a full page reading gets on, even where a whole page has one time", () => {
  const cursor = createLogCursor();
  const page = { a: Array.from({ length: 3 }, (): [string, string] => ["50.000000000", "x"]) };
  expect(cursor.take(page)).toHaveLength(3);
  cursor.turnPage();
  expect(cursor.from()).toBe("50.000000000");
  expect(cursor.take(page)).toHaveLength(0);
  cursor.turnPage();
  expect(cursor.from()).toBe("50.000000001");
});

test("property: whatever is written between looks, each line is taken once", () => {
  const written = fc.array(
    fc.record({
      instance: fc.constantFrom("a", "b"),
      step: fc.integer({ min: 0, max: 2 }),
      look: fc.boolean(),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(written, (steps) => {
      const log = new Map<string, [string, string][]>();
      const cursor = createLogCursor();
      const taken: string[] = [];
      let now = 1_000;
      const look = () => {
        const from = cursor.from();
        const visible = [...log].map(([id, rows]) => [
          id,
          rows.filter(([time]) => Number(time) >= Number(from)),
        ]);
        taken.push(...texts(cursor.take(Object.fromEntries(visible))));
      };
      steps.forEach((step, index) => {
        now += step.step;
        log.set(step.instance, [...(log.get(step.instance) ?? []), [`${now}.000000000`, `${index}`]]);
        if (step.look) look();
      });
      look();
      expect(taken.map(Number).sort((x, y) => x - y)).toEqual(steps.map((_, index) => index));
    }),
  );
});
