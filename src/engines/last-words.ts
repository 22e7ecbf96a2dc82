/** What is told of an engine's end when its output says nothing that is known. Pure; shared by the engines. */
import { type Failure, failure } from "../core/failure.ts";
import { lastWords } from "../core/last-words.ts";

export type ProcessExit = { readonly code: number | null; readonly signal: string | null };

/** @param engine as it begins a sentence */
export function explainUnknownExit(engine: string, exit: ProcessExit, lastLines: readonly string[]): Failure {
  if (exit.signal === "SIGKILL" || exit.code === 137) {
    return failure(
      "out_of_memory",
      `${engine} was killed, most likely because the machine ran out of memory.`,
      "Choose a smaller model or quantization, or a shorter context.",
    );
  }
  if (exit.signal === "SIGILL" || exit.code === 132) {
    return failure(
      "engine_refused_model",
      `${engine} met an instruction that this machine's processor does not have.`,
      "Install a version that was built for it, or run Berth on another machine.",
    );
  }
  return explainCrash(engine, exit, lastLines);
}

/** How it ended, with the last thing it said. */
export function explainCrash(engine: string, exit: ProcessExit, lastLines: readonly string[]): Failure {
  const how = exit.signal === null ? `code ${exit.code ?? "unknown"}` : `signal ${exit.signal}`;
  const last = lastWords(lastLines);
  return failure(
    "engine_crashed",
    `${engine} ended with ${how}${last === null ? "" : `; its last words were: ${last}`}.`,
    "The deployment's logs have more.",
  );
}
