/**
 * The wire shapes of the deploy API, with DeepInfra's field names: what clients may send and what Berth answers. Both
 * published generations of that API are taken. Says what a field may be by itself; what fields mean together, and
 * whether a name is free or a repository acceptable, is decided in the API room. Unknown fields are ignored.
 */
import { z } from "zod";
import { laxInt } from "./lax.ts";
import { scheduleIn, scheduleOut } from "./schedule.ts";
import { standardArgsIn, standardArgsOut } from "./standard-args.ts";

/** Equal to the core's list; a test compares them. */
export const gpuNames = [
  "L4-24GB",
  "L40S-48GB",
  "A100-80GB",
  "H100-80GB",
  "H200-141GB",
  "B200-180GB",
  "B300-270GB",
  "RTXPRO6000-96GB",
  "other",
] as const;

/** Equal to the core's list; a test compares them. */
export const statusNames = [
  "initializing",
  "downloading",
  "deploying",
  "running",
  "updating",
  "stopped",
  "failed",
  "deleted",
] as const;

/** Longest `inactive_shutdown`, seconds: a year. */
const maxInactiveShutdownS = 31_536_000;

const inactiveShutdown = laxInt(z.int().min(0).max(maxInactiveShutdownS)).nullish();

export const hfWeightsIn = z.object({
  repo: z.string(),
  revision: z.string().nullish(),
  token: z.string().nullish(),
});

/** 0 or null for `inactive_shutdown` means the default. */
export const scaleSettingsIn = z.object({
  min_instances: laxInt(z.int().min(0)).default(1),
  max_instances: laxInt(z.int().min(0)).default(1),
  inactive_shutdown: inactiveShutdown,
  /** Other minimums by weekday and hour. */
  schedule: scheduleIn.nullish(),
});

const extraArgs = z.array(z.string().max(1024)).max(64).nullish();

/** Body of `POST /deploy/llm`. */
export const deployLlmIn = z.object({
  model_name: z.string(),
  gpu: z.enum(gpuNames),
  num_gpus: laxInt(z.int().min(1).max(8)).default(1),
  max_batch_size: laxInt(z.int().min(1).max(256)).default(96),
  hf: hfWeightsIn.nullish(),
  base_model: z.string().nullish(),
  settings: scaleSettingsIn.nullish(),
  extra_args: extraArgs,
  standard_args: standardArgsIn.nullish(),
  /** One of `GET /deploy/llm/presets`; what is given beside it replaces the preset's whole field. */
  preset_id: z.string().nullish(),
  /** One of the administrator's list. */
  container_image: z.string().nullish(),
});
export type DeployLlmIn = z.output<typeof deployLlmIn>;
/** What a client may write. */
export type DeployLlmBody = z.input<typeof deployLlmIn>;

/**
 * Body of `PUT /deploy/{deploy_id}`; a half of `settings` that is absent stays as it is. `standard_args` and `extra_args`
 * replace what there was, knobs that are absent included, by a rolling update.
 */
export const deployUpdateIn = z.object({
  settings: z
    .object({
      min_instances: laxInt(z.int().min(0)).optional(),
      max_instances: laxInt(z.int().min(0)).optional(),
      inactive_shutdown: inactiveShutdown,
      /** Replaces the whole schedule; null, or one without rules, takes it away. */
      schedule: scheduleIn.nullish(),
    })
    .nullish(),
  standard_args: standardArgsIn.nullish(),
  extra_args: extraArgs,
});
export type DeployUpdateIn = z.output<typeof deployUpdateIn>;
export type DeployUpdateBody = z.input<typeof deployUpdateIn>;

export const scaleSettingsOut = z.object({
  min_instances: z.int(),
  max_instances: z.int(),
  /** Seconds; null means the installation's default. */
  inactive_shutdown: z.int().nullable(),
  /** Absent where there is none. */
  schedule: scheduleOut.optional(),
});

/** One deployment as every endpoint reports it. */
export const deploymentOut = z.object({
  deploy_id: z.string(),
  /** Full name, `<account>/<model>`. */
  model_name: z.string(),
  /** Commit of the weights, "" until it is resolved. */
  version: z.string(),
  task: z.string(),
  status: z.enum(statusNames),
  /** "" unless failed. */
  fail_reason: z.string(),
  /** ISO 8601 with `+00:00`. */
  created_at: z.string(),
  updated_at: z.string(),
  type: z.literal("llm"),
  instances: z.object({ running: z.int(), pending: z.int(), warming: z.int() }),
  config: z.object({
    gpu: z.enum(gpuNames),
    num_gpus: z.int(),
    max_batch_size: z.int(),
    /** The token is write-only: always null. */
    weights: z.object({ repo: z.string(), revision: z.string().nullable(), token: z.null() }),
    base_model: z.string().nullable(),
    container_image: z.string().nullable(),
  }),
  settings: scaleSettingsOut,
  standard_args: standardArgsOut,
  extra_args: z.array(z.string()),
  /** Why the last update was taken back; null when it was not. */
  update_error: z.string().nullable(),
  /** Instances while an update is under way, else null. */
  rollout: z.object({ up_to_date: z.int(), outdated: z.int(), booting: z.int() }).nullable(),
});
export type DeploymentOut = z.output<typeof deploymentOut>;

export const deploymentListOut = z.array(deploymentOut);

/** Answer of PUT, DELETE, stop and start. */
export const deployIdOut = z.object({ deploy_id: z.string() });

/** Query of `GET /deploy/list`. `account=all` is Berth's own, for administrators. */
export const deployListQuery = z.object({
  /** Comma-separated status names. */
  status: z.string().optional(),
  account: z.string().optional(),
});

export const deployIdPath = z.object({ deploy_id: z.string() });

/** Answer of `GET /deploy/{deploy_id}/config/history`, newest first. */
export const configHistoryOut = z.array(
  z.object({
    entry_id: z.string(),
    /** ISO 8601 with `+00:00`. */
    retired_at: z.string(),
    standard_args: standardArgsOut,
    extra_args: z.array(z.string()),
  }),
);

export const historyEntryPath = z.object({ deploy_id: z.string(), entry_id: z.string() });

/** Query of `GET /deploy/llm/presets`. */
export const presetsQuery = z.object({
  hf_repo_id: z.string(),
  gpu: z.string().nullish(),
  engine: z.string().nullish(),
  source: z.string().nullish(),
});

export const presetsOut = z.array(
  z.object({
    id: z.string(),
    /** `NxGPU`. */
    gpu_configs: z.array(z.string()),
    source: z.string(),
    engine: z.string(),
    standard_args: standardArgsOut,
    extra_args: z.array(z.string()),
    label: z.string(),
  }),
);
export type PresetsOut = z.output<typeof presetsOut>;

export const suggestNameQuery = z.object({ model_name: z.string() });
export const suggestNameOut = z.object({ model_name: z.string() });

export const standardArgsQuery = z.object({ engine: z.string().default("vllm") });
/** Answer of `GET /deploy/llm/standard_args`: the knobs that the engine has. */
export const knobsOut = z.record(
  z.string(),
  z.object({
    type: z.enum(["integer", "number", "boolean", "string"]),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    enum: z.array(z.string()).optional(),
    description: z.string(),
  }),
);

/** Body of `POST /v1/deploy`, an older way to deploy. */
export const deployModelIn = z.object({
  provider: z.enum(["huggingface", "deepinfra", "cnt"]).default("cnt"),
  model_name: z.string(),
  version: z.string().nullish(),
});

/** Body of `POST /deploy/hf/`, an older way to deploy. */
export const hfModelIn = z.object({ model_name: z.string(), task: z.string().nullish() });

/** Query of `GET /deploy/llm/gpu_availability`. */
export const gpuAvailabilityQuery = z.object({
  /** A Hugging Face repository. */
  source: z.string().default(""),
  base_model: z.string().default(""),
});

/** Answer of `GET /deploy/llm/gpu_availability`. */
export const gpuAvailabilityOut = z.object({
  gpus: z.array(
    z.object({
      /** `<count>x<gpu>`, always ending in `-<memory>GB`. */
      gpu_config: z.string(),
      usd_per_hour: z.number(),
      available: z.boolean(),
      recommended: z.boolean(),
    }),
  ),
});
export type GpuAvailabilityOut = z.output<typeof gpuAvailabilityOut>;
