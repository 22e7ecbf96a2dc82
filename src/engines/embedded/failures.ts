/**
 * What the end of the embedded engine's program means, as a failure a person can act on: its own last word where it left one,
 * what llama.cpp and Node say when memory runs out, else what the signal or code usually means. Pure.
 */
import { type Failure, type FailureCode, failure } from "../../core/failure.ts";
import { explainUnknownExit, type ProcessExit } from "../last-words.ts";

const prefix = "berth-engine: error: ";

export function explainEmbeddedExit(exit: ProcessExit, lastLines: readonly string[]): Failure {
  // First: llama.cpp says why it has no context, and the program knows only that it has none.
  const lack = explainLack(lastLines);
  if (lack !== null) return lack;
  const said = lastLines.findLast((line) => line.startsWith(prefix) && !line.startsWith(`${prefix}defect`));
  const [, word = "", sentence = ""] = /^berth-engine: error: (\w+): (.*)$/.exec(said ?? "") ?? [];
  if (sentence !== "") return explainWord(word, sentence);
  return explainUnknownExit("The embedded engine", exit, lastLines);
}

const lessMemory =
  "Choose a smaller model or quantization, or lower max_context_size, max_batch_size or BERTH_CPU_CONTEXT_MB.";

/** Recorded from llama.cpp and Node 24 when they may map no more. */
const lacks =
  /insufficient memory|failed to allocate|unable to allocate|std::bad_alloc|cannot allocate memory|FATAL ERROR: .*out of memory|Fatal process out of memory/i;

function explainLack(lines: readonly string[]): Failure | null {
  if (!lines.some((line) => lacks.test(line))) return null;
  const asked = lines.map((line) => /attempted to allocate ([\d.]+) MB/.exec(line)?.[1]).find(Boolean);
  const more = asked === undefined ? "" : `: it asked for ${Math.round(Number(asked))} MB more`;
  return failure("out_of_memory", `The embedded engine ran out of memory${more}.`, lessMemory);
}

const explained: Readonly<Record<string, { code: FailureCode; before: string; next: string }>> = {
  engine_refused_model: {
    code: "engine_refused_model",
    before: "The embedded engine cannot load this model: ",
    next: "Check that the file is a complete GGUF of a supported architecture, or choose another model.",
  },
  out_of_memory: {
    code: "out_of_memory",
    before: "The embedded engine has too little memory: ",
    next: "Choose a smaller model or quantization, lower --ctx-size, or raise BERTH_CPU_CONTEXT_MB if the machine has more.",
  },
  bad_engine_args: { code: "bad_engine_args", before: "", next: "Correct standard_args or extra_args." },
};

function explainWord(word: string, sentence: string): Failure {
  const known = Object.hasOwn(explained, word) ? explained[word] : undefined;
  const text = `${known?.before ?? "The embedded engine could not start: "}${sentence.slice(0, 300).replace(/[.!]*$/, "")}.`;
  return failure(known?.code ?? "engine_crashed", text, known?.next ?? "The deployment's logs have more.");
}
