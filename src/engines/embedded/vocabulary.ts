/**
 * What tokens are in bytes. The engine's own detokenizer gives strings, which cannot hold half a character; streams need
 * the bytes to cut text only between characters. Owns the two token encodings (byte-level BPE and SentencePiece); pure.
 */

/** GGUF token types (ggml's docs/gguf.md, `tokenizer.ggml.token_type`). */
const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

/** Control tokens that are part of an answer's text: their markup is what clients and the tool-call parser read. */
export const shownControls = new Set(["<tool_call>", "</tool_call>", "<think>", "</think>"]);

export type Vocabulary = {
  readonly size: number;
  /** The bytes a token adds to the text; none for control tokens. */
  bytesOf(token: number): Uint8Array;
  /** Texts the tokenizer turns into control tokens: what user text must not be able to forge. */
  readonly controlTexts: readonly string[];
  /** Bytes of the longest token, 1 or more. */
  readonly longestBytes: number;
};

const nothing = new Uint8Array(0);

/**
 * @param model `tokenizer.ggml.model`: "gpt2" is byte-level BPE, "llama" SentencePiece; others are read like the latter.
 * @param isEnd tells tokens that end an answer, which are control tokens whatever their type says
 */
export function createVocabulary(
  model: string,
  tokens: readonly string[],
  types: readonly number[],
  isEnd: (token: number) => boolean,
): Vocabulary {
  const encoder = new TextEncoder();
  const isByteLevel = model === "gpt2";
  const isControl = (token: number) =>
    types[token] === tokenType.control || types[token] === tokenType.unknown || isEnd(token);
  const compute = (token: number): Uint8Array => {
    const text = tokens[token] ?? "";
    if (isControl(token)) return shownControls.has(text) && !isEnd(token) ? encoder.encode(text) : nothing;
    if (types[token] === tokenType.userDefined) return encoder.encode(text);
    if (isByteLevel) return byteLevelBytes(text) ?? encoder.encode(text);
    const byte = types[token] === tokenType.byte ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text) : null;
    if (byte?.[1] !== undefined) return Uint8Array.of(Number.parseInt(byte[1], 16));
    return encoder.encode(text.replaceAll("\u2581", " "));
  };
  const cache = new Map<number, Uint8Array>();
  return {
    size: tokens.length,
    bytesOf(token) {
      const known = cache.get(token);
      if (known !== undefined) return known;
      const bytes = compute(token);
      cache.set(token, bytes);
      return bytes;
    },
    controlTexts: tokens.filter((text, token) => text.length > 1 && isControl(token)),
    longestBytes: tokens.reduce(
      (longest, text) => Math.max(longest, isByteLevel ? text.length : Buffer.byteLength(text)),
      1,
    ),
  };
}

/** Byte-level BPE writes each byte as one printable character (GPT-2's table); null when a character is not of it. */
function byteLevelBytes(text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (const character of text) {
    const byte = byteOfCharacter.get(character);
    if (byte === undefined) return null;
    bytes[length++] = byte;
  }
  return bytes.subarray(0, length);
}

const byteOfCharacter = ((): ReadonlyMap<string, number> => {
  const map = new Map<string, number>();
  let hidden = 0;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    map.set(String.fromCharCode(isPrintable ? byte : 256 + hidden++), byte);
  }
  return map;
})();
