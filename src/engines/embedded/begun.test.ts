import fc from "fast-check";
import { expect, test } from "vitest";
import { SeenText } from "./begun.ts";

test("what is new is all that follows what was seen, however the text is cut", () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.string()), fc.nat(), (seen, rest, at) => {
      const whole = seen + rest.join("");
      const cut = at % (whole.length + 1);
      const text = new SeenText(seen);
      const fresh = [whole.slice(0, cut), whole.slice(cut)].map((piece) => text.take(piece));
      expect(fresh.join("")).toBe(rest.join(""));
      expect(text.isOver).toBe(true);
    }),
  );
});

test("a text that comes out otherwise is noticed", () => {
  expect(new SeenText("a fox").take("a cat")).toBeNull();
  expect(new SeenText("a fox").take("a cat ran")).toBeNull();
  const short = new SeenText("a fox");
  expect([short.take("a f"), short.isOver]).toEqual(["", false]);
});
