/**
 * What the last words of llama.cpp's server mean, as failures a person can act on. Pure. The patterns are of its real output
 * from releases of 2024 (`b3000`) to 2026 (`0.4`); what matches none is told with its last line.
 */
import { type Failure, failure } from "../../core/failure.ts";
import { explainUnknownExit, type ProcessExit } from "../last-words.ts";

type Pattern = { readonly pattern: RegExp; readonly failure: (found: RegExpExecArray) => Failure };

const otherModel =
  "Check that the file is a complete GGUF of a supported architecture, or choose another model.";
const refusesModel = (why: string, next = otherModel) =>
  failure("engine_refused_model", `llama.cpp's server cannot load this model: ${why}.`, next);
const lacksMemory = (what: string) =>
  failure(
    "out_of_memory",
    `llama.cpp's server ran out of memory ${what}.`,
    "Choose a smaller model or quantization, lower max_context_size or max_batch_size, or give it more GPUs.",
  );

/** The first that matches is told; those that say most come first. */
const patterns: readonly Pattern[] = [
  {
    pattern: /unknown model architecture: '([\w.-]{1,60})'/,
    failure: ([, name = ""]) =>
      refusesModel(
        `this version does not know the architecture ${name}`,
        "Install a newer version with `berth engines install llama-server`, or choose another model.",
      ),
  },
  {
    pattern: /cudaMalloc failed: out of memory|CUDA error: out of memory|ErrorOutOfDeviceMemory/i,
    failure: () => lacksMemory("on a GPU"),
  },
  {
    pattern: /llama_init_from_model: ([\w ]{1,80} requires [\w ]{1,80})/,
    failure: ([, why = ""]) =>
      failure(
        "bad_engine_args",
        `llama.cpp's server cannot do what it was asked for together: ${why}.`,
        "Correct extra_args.",
      ),
  },
  {
    pattern:
      /failed to allocate (?:buffer for kv cache|memory for kv cache)|failed to allocate .{0,40}(?:KV|kv)[ _]?cache|failed to create context with model|failed to initialize the context|llama_init_from_model: failed/,
    failure: () => lacksMemory("when it made room for the context"),
  },
  {
    pattern:
      /unable to allocate .{0,40}buffer|failed to allocate .{0,60}buffer|std::bad_alloc|cannot allocate memory/i,
    failure: () => lacksMemory("while loading"),
  },
  {
    pattern:
      /CUDA driver version is insufficient|no kernel image is available|forward compatibility was attempted/i,
    failure: () =>
      failure(
        "engine_crashed",
        "llama.cpp's server needs a newer NVIDIA driver than this machine has, or was built for other GPUs.",
        "Update the driver, or build the server here with `berth engines install llama-server`.",
      ),
  },
  {
    pattern: /invalid magic characters|bad GGUF magic|not a GGUF file|failed to read magic/,
    failure: () => refusesModel("the file is no GGUF file"),
  },
  {
    pattern:
      /tensor '([^']{1,80})' data is not within the file bounds|failed to read key-value pairs|failed to read tensor|unexpectedly reached end of file|illegal split file/,
    failure: () =>
      refusesModel("the file is cut off or damaged", "Verify it with `berth hub verify --repair`."),
  },
  {
    pattern: /error loading model(?: \w+)?: (.{1,160})/,
    failure: ([, why = ""]) => refusesModel(withoutPaths(why)),
  },
  {
    pattern:
      /failed to parse chat template|chat template parsing error|this custom template is not supported/i,
    failure: () =>
      failure(
        "engine_refused_model",
        "llama.cpp's server cannot read the model's chat template.",
        "Choose a file with another template, or install a newer version with `berth engines install llama-server`.",
      ),
  },
  {
    pattern: /couldn't bind (?:HTTP )?server socket|address already in use/i,
    failure: () =>
      failure(
        "engine_crashed",
        "llama.cpp's server could not listen at its socket.",
        "It is started again with a new one; see the deployment's logs if that does not help.",
      ),
  },
  {
    pattern: /error: (?:invalid argument|unknown argument): (\S{1,60})/,
    failure: ([, name = ""]) =>
      failure(
        "bad_engine_args",
        `This version of llama.cpp's server has no argument ${name}.`,
        "Correct extra_args, or install a newer version with `berth engines install llama-server`.",
      ),
  },
  {
    pattern: /error while handling argument "([^"]{1,60})"/,
    failure: ([, name = ""]) =>
      failure(
        "bad_engine_args",
        `llama.cpp's server does not accept the value of ${name}.`,
        "Correct standard_args or extra_args.",
      ),
  },
  {
    pattern: /error while loading shared libraries: ([\w.-]{1,80})/,
    failure: ([, name = ""]) =>
      failure(
        "engine_crashed",
        `llama.cpp's server needs the library ${name}, which this machine does not have.`,
        "Install it, or build the server here with `berth engines install llama-server`.",
      ),
  },
];

export function explainLlamaServerExit(exit: ProcessExit, lastLines: readonly string[]): Failure {
  const text = lastLines.join("\n");
  for (const { pattern, failure: make } of patterns) {
    const found = pattern.exec(text);
    if (found !== null) return make(found);
  }
  return explainUnknownExit("llama.cpp's server", exit, lastLines);
}

function withoutPaths(text: string): string {
  return text.replace(/'?(?:\/[^\s']+)+'?/g, "the file").replace(/[.!\s]*$/, "");
}
