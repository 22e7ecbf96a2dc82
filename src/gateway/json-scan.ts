/**
 * Finds the top-level entries of a JSON object in its bytes without building a value: large bodies are read for a name
 * and a few numbers only. Pure, and as strict as JSON.parse: what that refuses is refused here, and each entry is the one
 * that it would answer. Owns no meaning of any key.
 */
import { isAscii, isUtf8 } from "node:buffer";

/** Where a value lies in the bytes. */
export type Slice = { readonly start: number; readonly end: number };

export type ScannedObject = {
  readonly bytes: Buffer;
  /** One character a byte. */
  readonly latin1: string;
  /** Each byte is a character by itself. */
  readonly isAscii: boolean;
  /** By key as JSON.parse reads it; of a key that occurs twice the last, as there. */
  readonly entries: ReadonlyMap<string, Slice>;
  /** No key occurs twice and none is written with escapes: every parser reads the same. */
  readonly isPlain: boolean;
};

type ScannedText = Pick<ScannedObject, "bytes" | "latin1" | "isAscii">;

/** Null when the bytes are not the UTF-8 text of one JSON object. */
export function scanObject(bytes: Buffer): ScannedObject | null {
  const hasAsciiOnly = isAscii(bytes);
  if (!hasAsciiOnly && !isUtf8(bytes)) return null;
  const scanner = new Scanner(bytes, hasAsciiOnly);
  return scanner.scan() ? scanner : null;
}

/** The value of an entry, as JSON.parse reads it; undefined when there is none. */
export function entryValue(object: ScannedObject, key: string): unknown {
  const slice = object.entries.get(key);
  return slice === undefined ? undefined : JSON.parse(textOf(object, slice));
}

export function textOf({ bytes, latin1, isAscii }: ScannedText, { start, end }: Slice): string {
  return isAscii ? latin1.slice(start, end) : bytes.toString("utf8", start, end);
}

/**
 * The object's text with some values replaced or added, and some entries left out. Everything else stays byte for byte.
 * @param replaced JSON text by key; a key that is not there yet is added at the end
 */
export function writeObject(
  object: ScannedObject,
  isKept: (key: string) => boolean,
  replaced: ReadonlyMap<string, string>,
): Buffer {
  const parts: Buffer[] = [];
  const put = (key: string, value: Buffer) => {
    parts.push(Buffer.from(`${parts.length === 0 ? "{" : ","}${JSON.stringify(key)}:`), value);
  };
  for (const [key, { start, end }] of object.entries) {
    const text = replaced.get(key);
    if (text !== undefined) put(key, Buffer.from(text));
    else if (isKept(key)) put(key, object.bytes.subarray(start, end));
  }
  for (const [key, text] of replaced) {
    if (!object.entries.has(key)) put(key, Buffer.from(text));
  }
  parts.push(Buffer.from(parts.length === 0 ? "{}" : "}"));
  return Buffer.concat(parts);
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;
const plus = 0x2b;
const dot = 0x2e;
const zero = 0x30;
const openObject = 0x7b;
const closeObject = 0x7d;
const openArray = 0x5b;
const closeArray = 0x5d;
const letterU = 0x75;

/** Bytes that may follow a backslash, `u` apart. */
const escapes = new Set([...'"\\/bfnrt'].map((char) => char.charCodeAt(0)));

/**
 * Takes pieces of a text and not of the bytes: there are many, and one costs a tenth of a Buffer's. Strings, which are most
 * of a body, are gone through as bytes, which is faster than by characters.
 */
class Scanner implements ScannedObject {
  readonly bytes: Buffer;
  readonly latin1: string;
  readonly isAscii: boolean;
  readonly entries = new Map<string, Slice>();
  isPlain = true;
  #at = 0;
  /** The string that was read last has an escape in it. */
  #hasEscape = false;

  constructor(bytes: Buffer, hasAsciiOnly: boolean) {
    this.bytes = bytes;
    this.latin1 = bytes.toString("latin1");
    this.isAscii = hasAsciiOnly;
  }

  scan(): boolean {
    this.#skipSpace();
    if (this.latin1.charCodeAt(this.#at) !== openObject) return false;
    this.#at += 1;
    if (!this.#members()) return false;
    this.#skipSpace();
    return this.#at === this.latin1.length;
  }

  /** The members of the outermost object, behind its bracket. */
  #members(): boolean {
    this.#skipSpace();
    if (this.#take(closeObject)) return true;
    for (;;) {
      this.#skipSpace();
      const key = this.#key();
      if (key === null) return false;
      this.#skipSpace();
      const start = this.#at;
      if (!this.#value()) return false;
      if (this.entries.has(key)) this.isPlain = false;
      this.entries.set(key, { start, end: this.#at });
      this.#skipSpace();
      if (this.#take(closeObject)) return true;
      if (!this.#take(comma)) return false;
    }
  }

  /** A key and its colon. */
  #key(): string | null {
    const start = this.#at;
    if (!this.#string()) return null;
    const end = this.#at;
    const hasEscape = this.#hasEscape;
    this.#skipSpace();
    if (!this.#take(colon)) return null;
    if (!hasEscape) return textOf(this, { start: start + 1, end: end - 1 });
    this.isPlain = false;
    return JSON.parse(textOf(this, { start, end })) as string;
  }

  /** One value of any depth. Nesting is kept in a list, so that no input can exhaust the stack. */
  #value(): boolean {
    const closers: number[] = [];
    for (;;) {
      this.#skipSpace();
      const byte = this.latin1.charCodeAt(this.#at);
      if (byte === openObject || byte === openArray) {
        const closer = byte === openObject ? closeObject : closeArray;
        this.#at += 1;
        this.#skipSpace();
        if (!this.#take(closer)) {
          closers.push(closer);
          if (closer === closeObject && !this.#innerKey()) return false;
          continue;
        }
      } else if (!this.#scalar(byte)) return false;
      const next = this.#afterValue(closers);
      if (next !== "more") return next === "end";
    }
  }

  /** Closes what ends here; says whether another value follows, all is closed, or this is no JSON. */
  #afterValue(closers: number[]): "more" | "end" | "bad" {
    for (;;) {
      const closer = closers.at(-1);
      if (closer === undefined) return "end";
      this.#skipSpace();
      if (this.#take(closer)) {
        closers.pop();
        continue;
      }
      if (!this.#take(comma)) return "bad";
      return closer === closeArray || this.#innerKey() ? "more" : "bad";
    }
  }

  #innerKey(): boolean {
    this.#skipSpace();
    if (!this.#string()) return false;
    this.#skipSpace();
    return this.#take(colon);
  }

  #scalar(byte: number): boolean {
    if (byte === quote) return this.#string();
    if (byte === 0x74) return this.#word("true");
    if (byte === 0x66) return this.#word("false");
    if (byte === 0x6e) return this.#word("null");
    return this.#number();
  }

  #word(word: string): boolean {
    if (!this.latin1.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  #number(): boolean {
    this.#take(minus);
    if (!this.#take(zero) && !this.#digits()) return false;
    if (this.#take(dot) && !this.#digits()) return false;
    const byte = this.latin1.charCodeAt(this.#at);
    if (byte !== 0x65 && byte !== 0x45) return true;
    this.#at += 1;
    if (!this.#take(plus)) this.#take(minus);
    return this.#digits();
  }

  #digits(): boolean {
    const start = this.#at;
    while (isDigit(this.latin1.charCodeAt(this.#at))) this.#at += 1;
    return this.#at > start;
  }

  #string(): boolean {
    const { bytes } = this;
    if (bytes[this.#at] !== quote) return false;
    this.#hasEscape = false;
    for (let i = this.#at + 1; i < bytes.length; i += 1) {
      const byte = bytes[i] ?? 0;
      if (byte === quote) {
        this.#at = i + 1;
        return true;
      }
      if (byte < 0x20) return false;
      if (byte === backslash) {
        this.#hasEscape = true;
        i += 1;
        const escaped = bytes[i] ?? 0;
        if (escaped === letterU) {
          if (!isHex(this.latin1, i + 1, i + 5)) return false;
          i += 4;
        } else if (!escapes.has(escaped)) return false;
      }
    }
    return false;
  }

  #take(byte: number): boolean {
    if (this.latin1.charCodeAt(this.#at) !== byte) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.latin1.charCodeAt(this.#at);
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }
}

/** NaN, which stands behind the end of a text, is none. */
function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isHex(text: string, from: number, to: number): boolean {
  if (to > text.length) return false;
  for (let i = from; i < to; i += 1) {
    const byte = text.charCodeAt(i);
    const lower = byte | 0x20;
    if (!isDigit(byte) && (lower < 0x61 || lower > 0x66)) return false;
  }
  return true;
}
