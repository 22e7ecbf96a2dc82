import fc from "fast-check";
import { expect, test } from "vitest";
import { Journal } from "./journal.ts";

const text = fc.oneof(
  fc.constantFrom("", " a", '"', "\\", "\n", "é", "日本", "😀", '"content":"', "}", "data: "),
  fc.string(),
);
type Said = { readonly text: string; readonly shape: number };
const said = fc.record({ text, shape: fc.integer({ min: 0, max: 11 }) });

/** Most are of one form, as an engine's are; some of others, or of none. */
function eventOf({ text, shape }: Said): string {
  const ids = { id: "c-1", object: "chat.completion.chunk", created: 7, model: "m" };
  const about = (choice: object) => `data: ${JSON.stringify({ ...ids, choices: [choice] })}\n\n`;
  const open = { index: 0, finish_reason: null };
  switch (shape) {
    case 0:
      return about({ ...open, delta: { role: "assistant", content: text } });
    case 1:
      return about({ ...open, text });
    case 2:
      return `: waiting\n\n${about({ ...open, delta: { content: text } })}`;
    case 3:
      return `data: ${JSON.stringify({ ...ids, content: text, choices: [{ ...open, delta: {} }] })}\n\n`;
    case 4:
      return about({ ...open, delta: { content: text, refusal: text } });
    case 5:
      return about({ index: 0, delta: { content: text }, finish_reason: "stop" });
    default:
      return about({ ...open, delta: { content: text } });
  }
}

function journalOf(pieces: readonly string[]): object {
  const journal = new Journal();
  for (const piece of pieces) journal.add(Buffer.from(piece));
  const { identity, text, isFinished, isDone, isLost } = journal;
  return { identity, text, isFinished, isDone, isLost };
}

test("what is read event by event is what is read when all come at once", () => {
  fc.assert(
    fc.property(fc.array(said, { maxLength: 30 }), fc.boolean(), (all, isDone) => {
      const events = [...all.map(eventOf), ...(isDone ? ["data: [DONE]\n\n"] : [])];
      expect(journalOf(events)).toEqual(journalOf([events.join("")]));
    }),
    { numRuns: 1000 },
  );
});

test("a text that is too long is given up", () => {
  const journal = new Journal();
  for (let count = 0; count < 6; count += 1) {
    journal.add(Buffer.from(eventOf({ text: "a".repeat(50_000), shape: 11 })));
  }
  expect([journal.isLost, journal.text]).toEqual([true, ""]);
});
