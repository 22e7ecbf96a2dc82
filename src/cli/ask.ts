/** Asks the person at the terminal, on standard error, so that standard output stays clean. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Cli } from "./context.ts";
import { Interrupted } from "./exit.ts";

/**
 * @param isHidden true for secrets: what is typed is not shown
 * @returns the line, null when the person ends the input (Ctrl-D)
 * @throws Interrupted on Ctrl-C
 */
export async function askPerson(cli: Cli, question: string, isHidden = false): Promise<string | null> {
  const { stdin, stderr } = cli.deps;
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: isHidden ? nowhere : stderr, terminal: true });
  // Only now: until readline has taken the terminal over, what is typed is shown by the terminal itself.
  if (isHidden) stderr.write(question);
  const ending = new AbortController();
  const ended = new Error("The input has ended.");
  // A terminal that is read line by line reports Ctrl-C here and not as a signal of the process.
  lines.once("SIGINT", () => ending.abort(new Interrupted("Ctrl-C")));
  lines.once("close", () => ending.abort(ended));
  const signal = AbortSignal.any([cli.signal, ending.signal]);
  try {
    return await lines.question(isHidden ? "" : question, { signal });
  } catch (error) {
    if (!isHidden) stderr.write("\n");
    if (!signal.aborted) throw error;
    if (signal.reason === ended) return null;
    throw signal.reason;
  } finally {
    lines.close();
    if (isHidden) stderr.write("\n");
  }
}
