/**
 * Text to tokens, by the model's own tokenizer. Owns what is special about the middle of a text: tokenizers of the
 * SentencePiece kind put a space before whatever they are given, which is right at the beginning of a text alone.
 */
import type { AddonModel } from "./addon.ts";

export type Tokenizer = {
  /** Null where the model has none. */
  readonly bos: number | null;
  readonly bosText: string;
  readonly eosText: string;
  /** Put in front of a prompt that does not start with it; null when the model wants none. */
  readonly prependedBos: number | null;
  isEnd(token: number): boolean;
  /** @param isContinuation the text follows on another one */
  tokenize(text: string, isContinuation: boolean): number[];
  /** What a model that makes embeddings wants around its input. */
  frame(tokens: readonly number[]): readonly number[];
};

export function createTokenizer(model: AddonModel): Tokenizer {
  const present = (token: number) => (token === -1 ? null : token);
  const textOf = (token: number | null) => (token === null ? "" : model.getTokenString(token));
  const [bos, eos, eot] = [model.tokenBos(), model.tokenEos(), model.eotToken()].map(present) as [
    number | null,
    number | null,
    number | null,
  ];
  const whole = (text: string) => [...model.tokenize(text, true)];
  const prefix = [bos, eos, present(model.tokenNl()), eot].find((token) => token !== null) ?? null;
  const prefixText = textOf(prefix);
  return {
    bos,
    bosText: textOf(bos),
    eosText: textOf(eos),
    prependedBos: bos !== null && model.shouldPrependBosToken() ? bos : null,
    isEnd: (token) => token === eos || token === eot || model.isEogToken(token),
    tokenize(text, isContinuation) {
      if (text === "") return [];
      if (!isContinuation) return whole(text);
      return continueAfter(model, prefix, prefixText, text) ?? continueAfterBreak(model, text) ?? whole(text);
    },
    frame: (tokens) => frame(model, { bos, eos, sep: present(model.sepToken()) }, tokens),
  };
}

/** Null where the tokens of the text cannot be told from what was put in front of it. */
function continueAfter(
  model: AddonModel,
  prefix: number | null,
  prefixText: string,
  text: string,
): number[] | null {
  if (prefix === null) return null;
  const tokens = [...model.tokenize(prefixText + text, true)];
  const at = tokens.indexOf(prefix);
  // Some tokenizers put one token before the prefix.
  if (at !== 0 && at !== 1) return null;
  return withSpacesOf(model, text, tokens.slice(at + 1));
}

/** As above, behind a line break. */
function continueAfterBreak(model: AddonModel, text: string): number[] | null {
  if (text.startsWith("\n")) {
    const tokens = model.tokenize(text, true);
    if (model.detokenize(tokens, true).startsWith("\n")) return [...tokens];
  }
  const first = model.tokenize("\n", true);
  const tokens = [...model.tokenize(`\n${text}`, true)];
  if (first.length === 0 || !first.every((token, at) => tokens[at] === token)) return null;
  return withSpacesOf(model, text, tokens.slice(first.length));
}

/** The tokens, if they begin with as many spaces as the text. */
function withSpacesOf(model: AddonModel, text: string, tokens: number[]): number[] | null {
  const spaces = (of: string) => /^ */.exec(of)?.[0].length;
  return spaces(model.detokenize(Uint32Array.from(tokens), true)) === spaces(text) ? tokens : null;
}

/** Kinds of vocabulary, as llama.cpp numbers them. */
const wordPiece = 3;
const unigram = 4;
const rwkv = 5;

/** As llama.cpp itself does when it is given a text. */
function frame(
  model: AddonModel,
  { bos, eos, sep }: { bos: number | null; eos: number | null; sep: number | null },
  tokens: readonly number[],
): readonly number[] {
  const kind = model.getVocabularyType();
  const wantsBos = kind === wordPiece || (kind !== unigram && kind !== rwkv && model.shouldPrependBosToken());
  const last =
    kind === rwkv
      ? null
      : kind === wordPiece
        ? sep
        : kind === unigram || model.shouldAppendEosToken()
          ? eos
          : null;
  const first = wantsBos ? bos : null;
  return [
    ...(first === null || tokens[0] === first ? [] : [first]),
    ...tokens,
    ...(last === null || tokens.at(-1) === last ? [] : [last]),
  ];
}
