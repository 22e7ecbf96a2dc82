/**
 * Messages on a Unix socket between two processes of the gateway, a line of JSON each. What is sent in one turn of the loop
 * goes out as one write. Must not know what the messages mean.
 */
import type { Socket } from "node:net";
import type { z } from "zod";
import type { TurnEnd } from "./turn-end.ts";

const maxLineChars = 4 * 1024 * 1024;

export type MessageLines = {
  send(message: unknown): void;
  /** Reads on after `onMessage` has answered "later", that message first. */
  resume(): void;
};

/**
 * @param turnEnd when what was sent goes out
 * @param onMessage takes a message, or answers "later": nothing more is read until `resume`
 * @param onNonsense what came is none of the protocol; the connection is ended
 */
export function openMessageLines<T>(
  socket: Socket,
  turnEnd: TurnEnd,
  schema: z.ZodType<T>,
  onMessage: (message: T) => "later" | undefined,
  onNonsense: (error: unknown) => void,
): MessageLines {
  let partial = "";
  let unread: T[] = [];
  let unsent = "";

  function read(text: string): void {
    const lines = (partial + text).split("\n");
    partial = lines.pop() ?? "";
    if (partial.length > maxLineChars) throw new Error("a message is too long");
    for (const line of lines) unread.push(schema.parse(JSON.parse(line)));
  }

  function deliver(text: string): void {
    try {
      read(text);
      const messages = unread;
      unread = [];
      for (const [at, message] of messages.entries()) {
        if (onMessage(message) !== "later") continue;
        unread = messages.slice(at);
        socket.pause();
        return;
      }
      socket.resume();
    } catch (error) {
      onNonsense(error);
      socket.destroy();
    }
  }

  socket.setEncoding("utf8");
  socket.on("error", () => undefined); // "close" follows, and is what counts
  socket.on("data", deliver);
  return {
    send(message) {
      if (unsent === "") turnEnd.add({ flush });
      unsent += `${JSON.stringify(message)}\n`;
    },
    resume: () => deliver(""),
  };

  function flush(): void {
    const text = unsent;
    unsent = "";
    if (socket.writable) socket.write(text);
  }
}
