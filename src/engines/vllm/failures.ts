/**
 * What vLLM's last words mean, as failures a person can act on. Pure. Those that can be had without a GPU were recorded from it; the
 * others are lines that people reported. The tests hold both; what matches none is told with its last line.
 */
import { type Failure, type FailureCode, failure } from "../../core/failure.ts";
import { explainUnknownExit, type ProcessExit } from "../last-words.ts";

type Pattern = { readonly pattern: RegExp; readonly failure: (found: RegExpExecArray) => Failure };

const say =
  (code: FailureCode, message: (...groups: string[]) => string, next: string) =>
  ([, ...groups]: RegExpExecArray): Failure =>
    failure(code, message(...groups.map((group) => group ?? "")), next);

const lessMemory = "Lower max_context_size or max_batch_size, choose a smaller model, or ask for more GPUs.";

/** The first that matches is told: causes come before what follows from them. */
const patterns: readonly Pattern[] = [
  {
    pattern:
      /KV cache is needed, which is larger than the available KV cache memory \(([\d.]+ GiB)\)(?:.*?estimated maximum model length is (\d+))?/s,
    failure: ([, room = "", most]) =>
      failure(
        "out_of_memory",
        `vLLM has room for less context than one request was promised: ${room} are left beside the weights.`,
        most === undefined
          ? "Lower max_context_size, or ask for more GPUs."
          : `Deploy again with max_context_size ${most} or less, or ask for more GPUs.`,
      ),
  },
  {
    pattern: /larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)/,
    failure: ([, most = ""]) =>
      failure(
        "out_of_memory",
        `vLLM has room for ${most} tokens of context, fewer than one request was promised.`,
        `Deploy again with max_context_size ${most} or less, or ask for more GPUs.`,
      ),
  },
  {
    pattern:
      /Available memory on node \d+ \(([\d.]+)\/[\d.]+ GiB\) on kv cache allocation is less than requested memory for kv \(([\d.]+) GiB\)/,
    failure: say(
      "out_of_memory",
      (free, asked) =>
        `vLLM was to keep ${asked} GiB of context, and ${free} GiB of the machine's memory are free.`,
      "End what uses the memory, or have an administrator lower BERTH_CPU_CONTEXT_MB.",
    ),
  },
  {
    pattern: /DefaultCPUAllocator: can't allocate memory: you tried to allocate (\d+) bytes/,
    failure: ([, bytes]) =>
      failure(
        "out_of_memory",
        `vLLM ran out of memory while loading: it asked for ${Math.ceil(Number(bytes) / 2 ** 20)} MiB more.`,
        "Choose a smaller model, lower max_context_size or max_batch_size, or have an administrator lower BERTH_CPU_CONTEXT_MB.",
      ),
  },
  {
    pattern: /No available memory for the cache blocks/,
    failure: say(
      "out_of_memory",
      () => "vLLM has no memory left for context beside the weights.",
      "Choose a smaller model or quantization, raise gpu_memory_fraction, or ask for more GPUs.",
    ),
  },
  {
    pattern: /Free memory on device(?: \S+)? \(([\d.]+)\/([\d.]+) GiB\) on startup is less than desired/,
    failure: say(
      "out_of_memory",
      (free, all) => `A GPU has only ${free} of its ${all} GiB free: another program uses it.`,
      "End what uses the GPU, or lower gpu_memory_fraction.",
    ),
  },
  {
    pattern:
      /(?:torch(?:\.cuda)?\.OutOfMemoryError|CUDA out of memory|CUDA driver error: out of memory)(?:.*?Tried to allocate ([\d.]+ [KMG]iB))?/,
    failure: ([, size]) =>
      failure(
        "out_of_memory",
        `vLLM ran out of GPU memory while loading${size === undefined ? "" : `, when it asked for ${size}`}.`,
        lessMemory,
      ),
  },
  {
    pattern:
      /requires you to execute the (?:configuration|modeling) file|contains custom code which must be executed|trust_remote_code=True/,
    failure: say(
      "engine_refused_model",
      () => "This model comes with Python code of its own, which vLLM may not run.",
      "Have an administrator read that code and allow the repository at its commit with BERTH_TRUST_REMOTE_CODE, or choose another model.",
    ),
  },
  {
    pattern:
      /Model architectures? \[?'?([\w.-]{1,80})'?[^\n]{0,80} (?:are|is) not supported|Model architectures \['([\w.-]{1,80})'[^\n]{0,80}failed to be inspected/,
    failure: say(
      "engine_refused_model",
      (a, b) => `This version of vLLM does not know the architecture ${a || b}.`,
      "Install a newer version with `berth engines install vllm`, or choose another model.",
    ),
  },
  {
    pattern: /model type `([\w.-]{1,80})` but Transformers does not recognize this architecture/,
    failure: say(
      "engine_refused_model",
      (name) => `The installed transformers library does not know the model type ${name}.`,
      "Install a newer version with `berth engines install vllm`, or choose another model.",
    ),
  },
  {
    pattern:
      /default chat template is no longer allowed|does not have a default chat template|chat_template is not set/,
    failure: say(
      "engine_refused_model",
      () => "The repository has no chat template.",
      "Choose a model that was made for chats, or ask this one with /v1/completions.",
    ),
  },
  {
    pattern:
      /NVIDIA driver on your system is too old \(found version (\d+)\)|CUDA driver version is insufficient|forward compatibility was attempted on non supported HW/,
    failure: say(
      "engine_crashed",
      (version) =>
        `The NVIDIA driver of this machine is too old for this version of vLLM${version === "" ? "" : ` (it has CUDA ${Math.floor(Number(version) / 1000)}.${Math.floor((Number(version) % 1000) / 10)})`}.`,
      "Update the driver, or install a version of vLLM for it.",
    ),
  },
  {
    pattern: /Bfloat16 is only supported on GPUs with compute capability of at least ([\d.]+)/,
    failure: say(
      "bad_engine_args",
      () => "These GPUs have no bfloat16, in which the model comes.",
      "Deploy again with extra_args --dtype half.",
    ),
  },
  {
    pattern: /quantization method (\S{1,40}) is not supported for the current (?:GPU|platform)/,
    failure: say(
      "engine_refused_model",
      (method) => `These GPUs cannot run weights quantized with ${method}.`,
      "Choose another quantization of the model, or other GPUs.",
    ),
  },
  {
    pattern: /Cannot find the config file for ([\w-]{1,40})/,
    failure: say(
      "bad_engine_args",
      (method) => `The repository does not say that its weights are quantized with ${method}.`,
      "Deploy again without quantization, or choose a repository whose weights are quantized so.",
    ),
  },
  {
    pattern: /Couldn't instantiate the backend tokenizer|Can't load tokenizer for/,
    failure: say(
      "engine_refused_model",
      () => "The repository has no tokenizer that vLLM can read.",
      "Choose another copy of the model.",
    ),
  },
  {
    pattern: /Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)/,
    failure: say(
      "bad_engine_args",
      (heads, gpus) => `The model's ${heads} attention heads cannot be divided among ${gpus} GPUs.`,
      "Deploy again with a num_gpus that divides them.",
    ),
  },
  {
    pattern: /User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\D*(\d+)/,
    failure: say(
      "bad_engine_args",
      (asked, has) => `max_context_size ${asked} is more than the model's ${has} tokens.`,
      "Deploy again with a max_context_size that the model has.",
    ),
  },
  {
    pattern:
      /World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)|invalid device ordinal/,
    failure: say(
      "hardware_missing",
      () => "vLLM sees fewer GPUs than it was given.",
      "Look at the machine with `berth doctor` and nvidia-smi.",
    ),
  },
  {
    pattern: /[Ii]nvalid (tool call|reasoning) parser:? ([\w-]{1,40})/,
    failure: say(
      "bad_engine_args",
      (kind, name) => `This version of vLLM has no ${kind} parser ${name}.`,
      "Correct extra_args; vLLM's documentation lists the parsers.",
    ),
  },
  {
    pattern: /error: (?:unrecognized arguments:|argument) ([^\s:]{1,60})/,
    failure: say(
      "bad_engine_args",
      (name) => `This version of vLLM does not take ${name} as it is.`,
      "Correct standard_args or extra_args.",
    ),
  },
  {
    pattern:
      /SafetensorError|(?:Expecting|Unterminated string|Invalid control character)[^\n]{0,60}: line \d+ column \d+ \(char \d+\)|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization/,
    failure: say(
      "engine_refused_model",
      () => "vLLM cannot read the model's safetensors: a file is cut off or damaged.",
      "Verify it with `berth hub verify --repair`.",
    ),
  },
  {
    pattern:
      /There is no module or parameter named '?([\w.]{1,100})|KeyError: '((?:model|layers|lm_head)\.[\w.]{1,100})'/,
    failure: say(
      "engine_refused_model",
      (a, b) => `The weights do not go with the model's configuration: ${a || b} is not part of it.`,
      "Choose another copy of the model.",
    ),
  },
  {
    pattern: /start \(\d+\) \+ length \((\d+)\) exceeds dimension size \((\d+)\)/,
    failure: say(
      "engine_refused_model",
      (asked, has) =>
        `The weights do not go with the model's configuration: a part has the size ${has} where it says ${asked}.`,
      "Choose another copy of the model.",
    ),
  },
  {
    pattern: /\[Errno 98\]|[Aa]ddress already in use|EADDRINUSE/,
    failure: say(
      "engine_crashed",
      () => "vLLM could not listen: something else has its port or socket.",
      "It is started again at another; see the deployment's logs if that does not help.",
    ),
  },
  {
    pattern: /CUDA error: (an illegal memory access|unspecified launch failure|device-side assert)/,
    failure: say(
      "engine_crashed",
      (what) => `A computation of vLLM on a GPU went wrong (CUDA: ${what}).`,
      "If it happens again, install another version with `berth engines install vllm`, or look for errors of the GPU with nvidia-smi.",
    ),
  },
  {
    pattern: /NCCL error: ([^\n]{1,80})/,
    failure: say(
      "engine_crashed",
      (what) => `The GPUs could not reach each other (NCCL: ${what.replace(/[.!]*$/, "")}).`,
      "See the deployment's logs; fewer GPUs may do.",
    ),
  },
  {
    pattern: /ModuleNotFoundError: No module named '([\w.]{1,60})'|ImportError: (lib[\w.-]{1,60}\.so[\w.]*)/,
    failure: say(
      "engine_crashed",
      (a, b) => `The installation of vLLM lacks ${a || b}.`,
      "Install it anew with `berth engines install vllm`.",
    ),
  },
];

/** Its other processes say no more than this where one of them was ended from outside. */
const partIsGone = /engine core exited unexpectedly|EngineDeadError: EngineCore encountered an issue/;

export function explainVllmExit(exit: ProcessExit, lastLines: readonly string[]): Failure {
  // A warning may name an error that could come.
  const lines = lastLines.filter((line) => !/^(?:\([^)]{1,40}\) )?(?:INFO|WARNING|DEBUG)\b/.test(line));
  const text = lines.join("\n");
  for (const { pattern, failure: make } of patterns) {
    const found = pattern.exec(text);
    if (found !== null) return make(found);
  }
  const cause = rootCause(lines);
  if (cause === null && lastLines.some((line) => partIsGone.test(line))) {
    return failure(
      "engine_crashed",
      "A part of vLLM (its engine core) ended without a word: it was killed, most likely because memory ran out.",
      "Choose a smaller model or a shorter context if that happens again; the system's log says what was killed.",
    );
  }
  return explainUnknownExit("vLLM", exit, [cause ?? lastLines.at(-1) ?? ""]);
}

/** The last exception that is not only the news of another process's. */
function rootCause(lines: readonly string[]): string | null {
  const errors = lines
    .map((line, index) => {
      const error = /\b((?:[A-Za-z_]+\.)*[A-Z]\w*(?:Error|Exception): .{1,200})$/.exec(line)?.[1];
      // Of what was given wrong, the line behind it tells.
      return error !== undefined && /\d+ validation errors? for/.test(error)
        ? lines[index + 1]?.trim().slice(0, 200)
        : error;
    })
    .filter(
      (error) => error !== undefined && !/Engine core initialization failed|EngineDeadError/.test(error),
    );
  return errors.at(-1)?.replace(/(?:\/[^\s':]+){2,}/g, "a file") ?? null;
}
