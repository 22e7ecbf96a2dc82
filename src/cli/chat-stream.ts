/**
 * Reads the stream of a chat completion piece by piece: server-sent events of the OpenAI format in, text out. Bounded,
 * and an answer that breaks off is an error, never a short answer. Must not print.
 */
import { z } from "zod";
import { readErrorText } from "./client.ts";
import { CliError, exitCodes } from "./exit.ts";

export type ChatPiece = {
  readonly text: string;
  /** "stop", "length", … on the last piece, else null. */
  readonly finishReason: string | null;
};

const chunkShape = z.object({
  choices: z.array(
    z.object({
      delta: z.object({ content: z.string().nullish() }),
      finish_reason: z.string().nullish(),
    }),
  ),
});

/** Longest line of a stream, in characters; a chunk is some hundred. */
const maxLineLength = 1_000_000;

/** @throws CliError when the server reports an error, sends something else, or breaks off */
export async function* readChatStream(body: AsyncIterable<Uint8Array>): AsyncGenerator<ChatPiece> {
  let isFinished = false;
  for await (const line of splitLines(body)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice("data:".length).trim();
    if (data === "[DONE]") return;
    const piece = readChunk(data);
    if (piece === null) continue;
    if (piece.finishReason !== null) isFinished = true;
    yield piece;
  }
  if (!isFinished)
    throw new CliError(exitCodes.failed, "The answer broke off: the connection ended before it did.");
}

function readChunk(data: string): ChatPiece | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new CliError(exitCodes.failed, "The answer broke off: the server sent a chunk that is not JSON.");
  }
  const error = readErrorText(value);
  if (error !== null) throw new CliError(exitCodes.failed, `The answer broke off: ${error}`);
  const parsed = chunkShape.safeParse(value);
  if (!parsed.success) {
    throw new CliError(
      exitCodes.failed,
      "The answer broke off: the server sent a chunk that is no chat completion.",
    );
  }
  const choice = parsed.data.choices[0];
  // A chunk without choices carries usage alone.
  if (choice === undefined) return null;
  return { text: choice.delta.content ?? "", finishReason: choice.finish_reason ?? null };
}

async function* splitLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of body) {
    rest += decoder.decode(piece, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > maxLineLength) {
      throw new CliError(exitCodes.failed, "The answer broke off: the server sent a line without end.");
    }
    for (const line of lines) yield line.replace(/\r$/, "");
  }
  if (rest !== "") yield rest;
}
