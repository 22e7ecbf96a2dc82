/**
 * Looks into chat messages for what must not reach an engine unseen: files and private addresses it would fetch, and
 * tensors it would load. Most messages have none, which a few searches in their bytes tell without parsing. Pure.
 */
import { HttpError } from "../../schema/errors.ts";
import { type ScannedObject, type Slice, textOf } from "../json-scan.ts";
import { refuseMediaUrl } from "./media-url.ts";

export type Messages = {
  /** Images, sound, video or files are in them. */
  readonly hasMedia: boolean;
  /** Their JSON written anew, where engines might read the bytes otherwise than it was done here; else null. */
  readonly rewritten: string | null;
};

const plain: Messages = { hasMedia: false, rewritten: null };

/** Every part with media has one of these in it, or is written with escapes of plain letters (\u0020 to \u007f). */
const sign = /_url|_embeds|_pil|"type"|input_audio|\\u00[2-7]/;
/** Of these, what no text says by chance, and the escapes: no writer of JSON has a reason for them but to hide letters. */
const strongSign = /_url|_embeds|_pil|\\u00[2-7]/;

/** Deepest nesting of content that is looked through. */
const maxDepth = 16;

/** @param slice where the value of `messages` lies in the object */
export function inspectMessages(object: ScannedObject, slice: Slice): Messages {
  const bytes = object.latin1.slice(slice.start, slice.end);
  if (!sign.test(bytes)) return plain;
  const messages = JSON.parse(textOf(object, slice)) as unknown;
  const hasMedia = Array.isArray(messages) && messages.some((message) => hasMediaIn(contentOf(message), 0));
  // A key that occurs twice, or one with escapes, may hide from this reader what an engine sees: it reads this one's view.
  const isDoubtful = hasMedia || strongSign.test(bytes);
  return { hasMedia, rewritten: isDoubtful ? JSON.stringify(messages) : null };
}

/** The role of the last message; null when it has none. */
export function lastRole(object: ScannedObject, slice: Slice): string | null {
  const messages = JSON.parse(textOf(object, slice)) as unknown;
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : null;
  return isRecord(last) && typeof last.role === "string" ? last.role : null;
}

function contentOf(message: unknown): unknown {
  return isRecord(message) ? message.content : null;
}

/** Throws HttpError for what an engine must not be given. */
function hasMediaIn(content: unknown, depth: number): boolean {
  if (depth > maxDepth) throw refused("is nested too deep");
  if (Array.isArray(content)) {
    let hasMedia = false;
    for (const part of content) hasMedia = hasMediaIn(part, depth + 1) || hasMedia;
    return hasMedia;
  }
  if (!isRecord(content)) return false;
  let hasMedia = typeof content.type === "string" && !textParts.has(content.type);
  for (const [key, value] of Object.entries(content)) {
    if (/_(?:embeds|pil)$/.test(key)) throw refused("holds data that only the engine itself may make");
    if (/(?:_url|^url)$/.test(key)) {
      hasMedia = true;
      refuseMediaUrl(isRecord(value) ? value.url : value);
    }
    if (key === "input_audio" || key === "file" || key === "image") hasMedia = true;
    if (typeof value === "object") hasMedia = hasMediaIn(value, depth + 1) || hasMedia;
  }
  return hasMedia;
}

/** Kinds of parts that are text; `ephemeral` is the kind of a cache_control. */
const textParts = new Set(["text", "refusal", "thinking", "input_text", "output_text", "ephemeral"]);

function refused(why: string): HttpError {
  return new HttpError("bad_request", `A part of messages ${why}. Send text, or media as data: URLs.`, {
    param: "messages",
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
