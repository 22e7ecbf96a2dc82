/**
 * Everything that can be set, as one zod schema over the environment and an optional `berth.yaml`, with the sentence
 * that documents each. How they are read is in `settings-read.ts`. `docs/reference/config.md` is kept equal to this by
 * a test.
 */
import { z } from "zod";
import {
  areAddressRanges,
  areOrigins,
  areTargets,
  httpUrl,
  imageName,
  listed,
  memoryRule,
  onOff,
  part,
  seconds,
  text,
  wholeNumber,
} from "./settings-kinds.ts";

/** Environment name -> schema; `.describe` is the documentation. The YAML key is the name without BERTH_, in lower case. */
export const settingsShape = {
  BERTH_HOME: text.min(1).default("~/.berth").describe("Folder of all state: database, weights, logs, keys."),
  BERTH_HOST: text
    .min(1)
    .default("127.0.0.1")
    .describe("Address the public port listens on. Plain text on an address that is not loopback warns."),
  BERTH_PORT: wholeNumber(0, 65535).default(8080).describe("Public port. 0 takes a free one."),
  BERTH_TLS_CERT: text
    .min(1)
    .optional()
    .describe("PEM file with the certificate chain; with BERTH_TLS_KEY the public port speaks TLS."),
  BERTH_TLS_KEY: text.min(1).optional().describe("PEM file with the private key."),
  BERTH_TRUSTED_PROXIES: text
    .refine(areAddressRanges, "addresses or CIDR ranges, separated by commas")
    .default("")
    .describe(
      "Comma-separated addresses or CIDR ranges of proxies whose X-Forwarded-For is believed; empty means it is ignored.",
    ),
  BERTH_CORS_ORIGINS: text
    .refine(areOrigins, "origins like https://app.example.com, separated by commas, or *")
    .default("")
    .describe(
      "Comma-separated origins of web pages that may call Berth from a browser; * for all; empty means none.",
    ),
  BERTH_WEBHOOK_TARGETS: text
    .refine(areTargets, "host names, *.name, addresses or CIDR ranges, separated by commas, or *")
    .default("")
    .describe(
      "Comma-separated hosts that answers may be posted to (`webhook` of the native API): names, *.name, or * for any public host. An address or CIDR range may be posted to by number, and names may lead there although it is private. Empty means none.",
    ),
  BERTH_API_TOKEN: text
    .regex(/^[\x21-\x7e]{16,256}$/, "16 to 256 printable characters without spaces")
    .optional()
    .describe(
      "Fixes the first account's token; else one is generated and kept in $BERTH_HOME/token (mode 0600).",
    ),
  BERTH_ACCOUNT: text
    .regex(
      /^(?=.{1,39}$)[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/,
      "1 to 39 letters and digits, with single hyphens between them",
    )
    .refine((name) => name.toLowerCase() !== "berth", "any name but berth, which is built in")
    .optional()
    .describe(
      "Name of the first account, an administrator. Default: the user's name at the operating system, brought into the rule, else local.",
    ),
  BERTH_STARTER: onOff.default(true).describe("off: do not deploy the starter model when the state is new."),
  BERTH_SECRET_KEY: text
    .regex(/^[0-9a-fA-F]{64}$/, "64 hexadecimal digits")
    .optional()
    .describe(
      "Key that seals stored secrets; else one is generated and kept in $BERTH_HOME/secret.key (mode 0600).",
    ),
  BERTH_LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error"], "trace, debug, info, warn or error")
    .default("info")
    .describe("How much the log says."),
  BERTH_QUOTA_GPUS: wholeNumber(1, 4096)
    .default(64)
    .describe(
      "Most GPUs (instances x num_gpus) one deployment may ask for; an instance on the CPU counts as one.",
    ),
  BERTH_ACCOUNT_GPUS: wholeNumber(0, 100_000)
    .default(1024)
    .describe(
      "Most GPUs of each type that an account's running deployments may grow to together (max_instances x num_gpus), where an administrator has set no other limit; an instance on the CPU counts as one of `other`.",
    ),
  BERTH_ACCOUNT_CONCURRENCY: wholeNumber(0, 1_000_000)
    .default(0)
    .describe(
      "Most requests of an account at one model at once, waiting ones among them, where an administrator has set no other limit. 0 is no limit.",
    ),
  BERTH_ACCOUNT_RPM: wholeNumber(0, 1_000_000_000)
    .default(0)
    .describe("The same for requests per minute at one model. 0 is no limit."),
  BERTH_ACCOUNT_TPM: wholeNumber(0, 1_000_000_000)
    .default(0)
    .describe("The same for prompt and generated tokens per minute at one model. 0 is no limit."),
  BERTH_AUDIT_DAYS: wholeNumber(1, 36_500)
    .default(365)
    .describe("How long the record of changes (GET /v1/berth/audit) is kept."),
  BERTH_AUDIT_MAX: wholeNumber(100, 10_000_000)
    .default(100_000)
    .describe("Most changes that are kept in that record; the oldest go first."),
  BERTH_CATALOGUE: text
    .min(1)
    .optional()
    .describe(
      "YAML file with further models for base_model and presets, in the form of Berth's own src/catalogue/models.yaml; its entries come first.",
    ),
  BERTH_CONTAINER_IMAGES: text
    .refine(
      (list) => listed(list).every((image) => /^[\w./:-]{1,255}@sha256:[0-9a-f]{64}$/.test(image)),
      "images with their digest (name@sha256:…), separated by commas",
    )
    .default("")
    .describe("Comma-separated images that container_image may name, pinned by digest; empty means none."),
  BERTH_WAIT_S: seconds(1, 3600)
    .default(120)
    .describe(
      "Longest time a request waits for a model that is starting or at zero, then 503; and for a successor of an instance that takes no connection, then 502.",
    ),
  BERTH_QUEUE_WAIT_S: seconds(1, 86_400)
    .default(600)
    .describe("Longest time a request waits for a slot of a model that runs, then 504."),
  BERTH_CONNECT_S: seconds(1, 600)
    .default(5)
    .describe("Longest time until a connection to an engine stands; then another instance is tried."),
  BERTH_FIRST_TOKEN_S: seconds(1, 86_400)
    .default(600)
    .describe("Longest time from then until an engine sends the first byte of a stream, then 504."),
  BERTH_SILENCE_S: seconds(1, 86_400)
    .default(300)
    .describe(
      "Longest silence within an answer, of the engine or of a client that takes nothing: then the one is given up, the other cut.",
    ),
  BERTH_TOTAL_S: seconds(1, 604_800)
    .default(14_400)
    .describe("Longest time a request may take in all, and an answer that is no stream to begin."),
  BERTH_CONTINUE: onOff
    .default(true)
    .describe(
      "A stream whose engine fails goes on at another instance where the answer stays the same; off: it ends in an error.",
    ),
  BERTH_QUEUE: wholeNumber(1, 100_000)
    .default(1000)
    .describe("Most requests that wait for one deployment, then 429."),
  BERTH_GATEWAY_PROCESSES: wholeNumber(1, 32)
    .default(1)
    .describe(
      "Processes that share the public port, each on a core of its own at most; see docs/guides/running.md for when more than one helps.",
    ),
  BERTH_CONNECTIONS: wholeNumber(10, 1_000_000)
    .default(100_000)
    .describe(
      "Most connections of clients at once (for each process of the gateway), an idle one being about 4 kB; more are told 503, where no other process has room for them. Fewer where the limit of open files (ulimit -n) is low: engines need some too.",
    ),
  BERTH_KEEP_ALIVE_S: seconds(0, 3600)
    .default(0)
    .describe(
      "While a stream waits for its turn or its model, a comment is sent every so many seconds; it begins the answer, so what fails after it is an error event instead of a status. 0: none.",
    ),
  BERTH_QUEUE_MB: wholeNumber(1, 65_536)
    .default(512)
    .describe(
      "Most MB of requests that wait for one deployment, of which one account has at most half; then 429.",
    ),
  BERTH_BODY_MB: wholeNumber(1, 1024)
    .default(32)
    .describe("Largest inference request body, in MB; larger is 413."),
  BERTH_DRAIN_S: seconds(0, 86_400)
    .default(30)
    .describe("How long streams may go on when Berth or an instance stops."),
  BERTH_HANG_S: seconds(0, 86_400)
    .default(30)
    .describe(
      "How long control or a gateway that serves may give no sign of life before it is killed and started again; time in which the machine sleeps, or has no processor for it, does not count. 0: for ever.",
    ),
  BERTH_INACTIVE_SHUTDOWN_S: seconds(1, 604_800)
    .default(900)
    .describe(
      "Default of settings.inactive_shutdown: idle time after which a deployment with min_instances 0 goes to zero.",
    ),
  BERTH_SCALE_DOWN_S: seconds(1, 86_400)
    .default(300)
    .describe("An instance above min_instances is given up when nothing needed it for this long."),
  BERTH_SCALE_FULL: part
    .default(0.8)
    .describe("Part of an instance's slots that scaling plans with; the rest is for what comes next."),
  BERTH_SCALE_COVER: part
    .default(1)
    .describe(
      "From thrifty to generous: 1 follows every burst; 0.95 keeps an instance that was needed for a twentieth of the last 20 minutes, and lets shorter bursts wait.",
    ),
  BERTH_LOAD_S: seconds(1, 86_400)
    .default(3600)
    .describe("Longest time an engine may take to load before it is ended."),
  BERTH_LOAD_TRIES: wholeNumber(1, 100)
    .default(3)
    .describe("Tries after which a deployment that never ran fails."),
  BERTH_RESTARTS: wholeNumber(0, 10_000)
    .default(20)
    .describe(
      "Ends in a row, none of them after a minute of serving, after which a deployment that has run fails, where no other instance of it serves. Tries come at growing intervals of up to 5 minutes. 0: it is tried for ever.",
    ),
  BERTH_PRICES: text
    .min(1)
    .optional()
    .describe(
      "YAML file with what tokens and GPU time cost: `models` (USD per million tokens: input, output, cached; `*` for all others) and `gpus` (USD per GPU and hour). Default: nothing costs anything.",
    ),
  BERTH_RECORDS_DAYS: wholeNumber(1, 3650)
    .default(30)
    .describe("How long a record of each inference request is kept. Sums by the hour stay longer."),
  BERTH_RECORDS_MAX: wholeNumber(1000, 100_000_000)
    .default(1_000_000)
    .describe("Most records that are kept, to the hour; the oldest go first. A million take about 600 MB."),
  BERTH_STATS_DAYS: wholeNumber(1, 3650)
    .default(400)
    .describe(
      "How long hourly sums, GPU time, and what scoped JWTs have spent (counted from their last request) are kept.",
    ),
  BERTH_SPOOL_MB: wholeNumber(1, 1_048_576)
    .default(256)
    .describe(
      "Most disk space for records that wait while control is away; beyond it the oldest are lost, and the log says so.",
    ),
  BERTH_ENGINE_MEMORY: memoryRule
    .default("auto")
    .describe(
      "Most memory of one engine on the CPU: auto (what its model should need, by the same sum as `berth fit`, and a quarter more), a number of MB for each, or off. One that takes more ends alone. Exact where systemd gives Berth its control group (docs/guides/operations.md), else a limit of what it may map.",
    ),
  BERTH_CPU_THREADS: wholeNumber(0, 256)
    .default(0)
    .describe("Threads of one engine on the CPU; 0: the cores less one."),
  BERTH_CPU_CONTEXT_MB: wholeNumber(1, 1_048_576)
    .default(1024)
    .describe("Memory for the context (KV cache) of one engine on the CPU."),
  BERTH_LLAMA_SERVER: text
    .optional()
    .describe(
      "Path of llama.cpp's server, or off. Default: what `berth engines install llama-server` made, else `llama-server` on PATH.",
    ),
  BERTH_LLAMA_RELEASES: text
    .optional()
    .describe(
      "URL of a copy of llama.cpp's releases (folders of their tags with their files), from which `berth engines install llama-server` fetches; http and file are allowed, since the files are compared with sums that Berth knows. Default: GitHub.",
    ),
  BERTH_VLLM: text
    .optional()
    .describe(
      "Folder of the virtual environment that vLLM is in, `image` for a container image alone, or off. Default: what `berth engines install vllm` made, else `vllm` on PATH, else an image where a container runtime is.",
    ),
  BERTH_VLLM_IMAGE: imageName
    .optional()
    .describe(
      "Container image of vLLM, with its registry: registry/name:tag, or name@sha256:… for exactly one. Default: vllm/vllm-openai of Docker Hub, of the release that Berth knows, where nvidia-smi is.",
    ),
  BERTH_CONTAINER_RUNTIME: text
    .regex(/^(?:off|[\w.-]{1,60}|~?\/.+)$/, "docker, podman, a path or off")
    .optional()
    .describe(
      "Docker or Podman, by name or path, for engines in container images, or off. Default: `docker` on PATH, else `podman`.",
    ),
  BERTH_IMAGE_S: seconds(1, 86_400)
    .default(3600)
    .describe("Longest time that fetching a container image may take; what came of it is kept."),
  BERTH_TRUST_REMOTE_CODE: text
    .optional()
    .describe(
      "Repositories whose own Python code vLLM may run, each at one commit: owner/name@commit, separated by commas. That code can do whatever the engine's process can.",
    ),
  BERTH_NVIDIA_SMI: text
    .min(1)
    .default("nvidia-smi")
    .describe("Program that lists NVIDIA's GPUs: a name in PATH, or a path."),
  BERTH_GPU_POLL_S: seconds(1, 3600)
    .default(30)
    .describe(
      "How often GPUs are looked at, so that one that is lost or used by others is not offered. Nothing runs where there are none.",
    ),
  BERTH_ISOLATION: z
    .enum(["auto", "off"], "auto or off")
    .default("auto")
    .describe(
      "auto: engines see only the system's programs, their weights and their own folder, without network, as a user of their own where Berth is root, where this machine allows it (`berth doctor` says). off: they run as any program of Berth's user.",
    ),
  BERTH_SHARED_ENGINES: onOff
    .default(false)
    .describe(
      "on: several accounts may deploy although engines cannot be isolated on this machine, so that one account's engine could read another's weights and secrets.",
    ),
  BERTH_HUB_PRIVATE: onOff
    .default(false)
    .describe(
      "on: HF_ENDPOINT may redirect to loopback and private addresses. HF_ENDPOINT itself is always allowed.",
    ),
  BERTH_ALLOW_PICKLE: onOff
    .default(false)
    .describe(
      "on: repositories whose weights are Python pickles only may be deployed. Loading a pickle can run code of whoever made it.",
    ),
  BERTH_HUB_CACHE: text
    .regex(/^(?:own|hf|\/.*|~(?:\/.*)?)$/, "own, hf or the path of a folder")
    .default("own")
    .describe(
      "Where weights are kept. own: $BERTH_HOME/hub. hf: the cache of Python's Hugging Face tools of this user (HF_HUB_CACHE, HF_HOME), or a path to such a cache: both use what the other fetched, and Berth removes only what it wrote.",
    ),
  BERTH_LOCAL_ROOTS: text
    .refine(
      (list) => listed(list).every((path) => /^\/./.test(path)),
      "absolute folders, separated by commas",
    )
    .default("")
    .describe(
      "Comma-separated folders whose models every account may deploy where they are, as hf.repo file:///folder or file:///file.gguf; empty means none.",
    ),
  BERTH_HUB_MAX_GB: wholeNumber(0, 10_000_000)
    .default(0)
    .describe(
      "Size in GB that Berth's part of the cache is kept below by removing what no deployment needs, least recently used first; 0: no limit. What deployments need stays also where it is more.",
    ),
  BERTH_HUB_CONNECTIONS: wholeNumber(1, 256)
    .default(16)
    .describe("Most connections that downloads of weights use at the same time, all together."),
  HF_ENDPOINT: httpUrl
    .default("https://huggingface.co")
    .describe("Server that speaks the Hugging Face protocol."),
  HF_TOKEN: text
    .min(1)
    .optional()
    .describe(
      "Token for HF_ENDPOINT, used for deployments that name none, of the accounts in BERTH_HF_TOKEN_ACCOUNTS.",
    ),
  BERTH_HF_TOKEN_ACCOUNTS: text
    .regex(/^[a-zA-Z0-9,\s-]*$/, "account names, separated by commas")
    .optional()
    .describe(
      "Comma-separated accounts whose deployments may use HF_TOKEN. Default: the first account alone.",
    ),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "a postgres:// URL" })
    .optional()
    .describe("postgres:// URL; without it the state is a SQLite file in BERTH_HOME."),
} as const;

export const settingsSchema = z.object(settingsShape);
export type Settings = z.output<typeof settingsSchema>;

/** A setting that cannot be used; the message names it, its value and what is allowed. */
export class SettingsError extends Error {}
