/** The middle of a text has no space of its own in front: on a stand-in that puts one there, as SentencePiece does. */
import { expect, it } from "vitest";
import type { AddonModel } from "./addon.ts";
import { createTokenizer } from "./tokenizer.ts";

const [bos, eos, none] = [1, 2, -1];

/** Characters as tokens; a control token is its text in front, and whatever begins a text gets a space. */
function spacing(over: Partial<AddonModel> = {}): AddonModel {
  const characters = (text: string) => [...text].map((character) => character.codePointAt(0) ?? 0);
  return {
    ...{
      tokenBos: () => bos,
      tokenEos: () => eos,
      tokenNl: () => none,
      eotToken: () => none,
      sepToken: () => none,
    },
    getTokenString: (token: number) => (token === bos ? "<s>" : "</s>"),
    isEogToken: (token: number) => token === 9,
    shouldPrependBosToken: () => true,
    shouldAppendEosToken: () => false,
    getVocabularyType: () => 1,
    tokenize: (text: string) =>
      Uint32Array.from(text.startsWith("<s>") ? [bos, ...characters(text.slice(3))] : characters(` ${text}`)),
    detokenize: (tokens: Uint32Array) => String.fromCodePoint(...tokens),
    ...over,
  } as AddonModel;
}
const textOf = (tokens: readonly number[]) => String.fromCodePoint(...tokens);

it("puts a space before a text, and none into the middle of one", () => {
  const { tokenize } = createTokenizer(spacing());
  expect(textOf(tokenize("fox", false))).toBe(" fox");
  expect(textOf(tokenize("fox", true))).toBe("fox");
  expect(textOf(tokenize("  fox", true))).toBe("  fox");
  expect(tokenize("", true)).toEqual([]);
});

it("goes behind a line break where the model has no token to go behind", () => {
  const model = spacing({ tokenBos: () => none, tokenEos: () => none });
  const { tokenize, bosText, prependedBos } = createTokenizer(model);
  expect(textOf(tokenize("fox", true))).toBe("fox");
  expect([bosText, prependedBos]).toEqual(["", null]);
});

it("knows what ends an answer, and what models for embeddings want around an input", () => {
  const { isEnd, frame } = createTokenizer(spacing());
  expect([bos, eos, 9].map(isEnd)).toEqual([false, true, true]);
  expect(frame([5])).toEqual([bos, 5]);
  expect(frame([bos, 5])).toEqual([bos, 5]);
  const wordPiece = createTokenizer(spacing({ getVocabularyType: () => 3, sepToken: () => 4 }));
  expect(wordPiece.frame([5])).toEqual([bos, 5, 4]);
  expect(wordPiece.frame([bos, 5, 4])).toEqual([bos, 5, 4]);
  const unigram = createTokenizer(spacing({ getVocabularyType: () => 4 }));
  expect(unigram.frame([5])).toEqual([5, eos]);
});
