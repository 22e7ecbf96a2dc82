/** Values for the store's tests: one plain sample of each kind, and generators of every value that may be stored. */
import fc from "fast-check";
import { type ApiToken, noRates } from "../core/account.ts";
import { type Deployment, gpuTypes, nothingSeen } from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import { type FailureCode, failureCodes } from "../core/failure.ts";
import type { InstanceRecord } from "../core/instance.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import { weekdays } from "../core/schedule.ts";
import { kvCacheDtypes, quantizations, type StandardArgs } from "../core/standard-args.ts";

export function sampleToken(more: Partial<ApiToken> = {}): ApiToken {
  const id = more.id ?? "t1";
  const plain = { id, account: "ann", name: id, hash: `hash of ${id}`, fragment: "abcde" };
  return { ...plain, allowedIps: null, rates: noRates, createdAtMs: 10, ...more };
}

export function sampleDeployment(more: Partial<Deployment> = {}): Deployment {
  const id = more.id ?? "d1";
  return {
    id,
    account: "ann",
    name: `ann/${id}`,
    isPublic: false,
    config: {
      gpu: "other",
      numGpus: 1,
      maxBatchSize: 4,
      weights: { repo: "owner/model:Q4_K_M", revision: null },
      baseModel: null,
      containerImage: null,
    },
    settings: { minInstances: 0, maxInstances: 1, inactiveShutdownS: null },
    desired: "run",
    createdAtMs: 10,
    updatedAtMs: 10,
    ...nothingSeen,
    ...more,
  };
}

export function sampleInstance(more: Partial<InstanceRecord> = {}): InstanceRecord {
  const base = { id: "i1", deploymentId: "d1", intent: "run" as const, createdAtMs: 10 };
  return { ...base, drainSinceMs: null, revision: 1, warmedAtMs: null, observed: null, ...more };
}

export function sampleEvent(more: Partial<DeploymentEvent> = {}): DeploymentEvent {
  const text = "The engine was started, because a request came.";
  return { deploymentId: "d1", atMs: 10, code: "instance_started", text, next: "", inputs: {}, ...more };
}

/** Any JavaScript string: NUL, quotes and halves of surrogate pairs among it. */
export const anyText = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
  .map((units) => String.fromCharCode(...units));

const word = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/);
const timeMs = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
/** JSON knows no minus zero. */
const fraction = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);

const anyFailure = fc.record({
  code: fc.constantFrom(...(Object.keys(failureCodes) as FailureCode[])),
  message: anyText,
  next: anyText,
});

const bytesBy = <Key extends string>(...keys: readonly Key[]) =>
  fc.dictionary(fc.constantFrom(...keys), count, { noNullPrototype: true }) as fc.Arbitrary<
    Partial<Record<Key, number>>
  >;

const anyFacts: fc.Arbitrary<ModelFacts> = fc.record({
  format: fc.constantFrom("safetensors", "gguf", "pickle"),
  architecture: orNull(anyText),
  task: anyText,
  parameters: orNull(count),
  weightBytes: count,
  bytesByDtype: bytesBy("BF16", "F8_E4M3", "Q4_K") as fc.Arbitrary<Record<string, number>>,
  bytesByPart: bytesBy(
    "embedding",
    "output",
    "attention",
    "feedForward",
    "routedExperts",
    "encoder",
    "other",
  ),
  isCounted: fc.boolean(),
  quantization: orNull(fc.record({ method: anyText, bits: orNull(count) })),
  layers: orNull(count),
  layerKinds: orNull(
    fc.record(
      {
        fullAttention: count,
        slidingAttention: count,
        recurrent: count,
        stateless: count,
        windowTokens: orNull(count),
        recurrentStateSize: orNull(count),
        fullHeads: fc.record({ kvHeads: count, headSize: count }),
        compressedTokens: count,
      },
      {
        requiredKeys: [
          "fullAttention",
          "slidingAttention",
          "recurrent",
          "stateless",
          "windowTokens",
          "recurrentStateSize",
        ],
      },
    ),
  ),
  hiddenSize: orNull(count),
  intermediateSize: orNull(count),
  vocabularySize: orNull(count),
  contextTokens: orNull(count),
  heads: orNull(count),
  kvHeads: orNull(count),
  headSize: orNull(count),
  valueHeadSize: orNull(count),
  latentAttention: orNull(
    fc.record({
      kvRank: count,
      queryRank: orNull(count),
      ropeHeadSize: count,
      plainHeadSize: orNull(count),
      valueHeadSize: orNull(count),
    }),
  ),
  experts: orNull(
    fc.record({ total: count, active: orNull(count), shared: count, intermediateSize: orNull(count) }),
  ),
  hasTiedEmbeddings: fc.boolean(),
  hasChatTemplate: fc.boolean(),
  adapter: orNull(fc.record({ base: orNull(anyText), rank: orNull(count) })),
});

const resolvedParts = {
  commit: fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 40, maxLength: 40 }),
  files: fc.array(
    fc.record({ path: anyText, bytes: count, sha256: orNull(anyText), gitOid: orNull(anyText) }),
    { maxLength: 3 },
  ),
  engine: word,
  entryFile: anyText,
  task: anyText,
};
const anyResolved = fc.oneof(fc.record(resolvedParts), fc.record({ ...resolvedParts, facts: anyFacts }));

const anyTries = fc.record({ count, lastAtMs: orNull(timeMs), lastFailure: orNull(anyFailure) });

const anyStandardArgs: fc.Arbitrary<StandardArgs> = fc.record(
  {
    maxContextSize: count,
    maxConcurrentRequests: count,
    maxImagesPerPrompt: count,
    gpuMemoryFraction: fraction,
    maxPrefillTokens: count,
    kvCacheDtype: fc.constantFrom(...kvCacheDtypes),
    enablePrefixCaching: fc.boolean(),
    quantization: fc.constantFrom(...quantizations),
  },
  { requiredKeys: [], noNullPrototype: true },
);

const anyRevision = fc.record({
  id: count,
  args: fc.record({ standardArgs: anyStandardArgs, extraArgs: fc.array(anyText, { maxLength: 3 }) }),
});

const schedule = fc.record({
  timeZone: anyText,
  rules: fc.array(
    fc.record({
      days: fc.subarray([...weekdays]),
      ...{ fromMinute: count, untilMinute: count, minInstances: count },
    }),
    { maxLength: 2 },
  ),
});

/** A deployment of the account `ann` with the given id. */
export function anyDeployment(id: string): fc.Arbitrary<Deployment> {
  return fc.record({
    id: fc.constant(id),
    account: fc.constant("ann"),
    name: word.map((name) => `ann/${name}`),
    isPublic: fc.boolean(),
    config: fc.record({
      gpu: fc.constantFrom(...gpuTypes),
      numGpus: fc.integer({ min: 1, max: 8 }),
      maxBatchSize: fc.integer({ min: 1, max: 256 }),
      weights: fc.record({ repo: anyText, revision: orNull(anyText) }),
      baseModel: orNull(anyText),
      containerImage: orNull(anyText),
    }),
    settings: fc.record(
      { minInstances: count, maxInstances: count, inactiveShutdownS: orNull(count), schedule },
      { requiredKeys: ["minInstances", "maxInstances", "inactiveShutdownS"] },
    ),
    desired: fc.constantFrom("run", "stop"),
    createdAtMs: timeMs,
    updatedAtMs: timeMs,
    resolved: orNull(anyResolved),
    weightsReadyAtMs: orNull(timeMs),
    failure: orNull(anyFailure),
    hasRun: fc.boolean(),
    tries: anyTries,
    revisions: fc.record({
      wanted: anyRevision,
      fallback: orNull(anyRevision),
      tries: anyTries,
      updateError: orNull(anyFailure),
      retired: fc.array(
        fc.tuple(anyRevision, timeMs).map(([revision, retiredAtMs]) => ({ ...revision, retiredAtMs })),
        { maxLength: 2 },
      ),
    }),
    loadTimeMs: orNull(count),
  });
}

const anyEndpoint = fc.oneof(
  fc.record({ kind: fc.constant("unix" as const), path: anyText }),
  fc.record({
    kind: fc.constant("tcp" as const),
    host: anyText,
    port: fc.integer({ min: 1, max: 65_535 }),
  }),
);

/** An instance of the deployment `d1`. */
export const anyInstance: fc.Arbitrary<InstanceRecord> = fc.record({
  id: word,
  deploymentId: fc.constant("d1"),
  intent: fc.constantFrom("run", "drain"),
  createdAtMs: timeMs,
  drainSinceMs: orNull(timeMs),
  revision: count,
  warmedAtMs: orNull(timeMs),
  observed: orNull(
    fc.record({
      id: word,
      deploymentId: fc.constant("d1"),
      state: fc.constantFrom("starting", "running", "exited"),
      endpoint: anyEndpoint,
      slots: count,
      contextTokens: count,
      loadProgress: orNull(fraction),
      note: orNull(anyText),
      placement: fc.record({ node: anyText, gpus: fc.array(anyText, { maxLength: 3 }) }),
      startedAtMs: timeMs,
      readyAtMs: orNull(timeMs),
      failure: orNull(anyFailure),
    }),
  ),
});

/** An event of the deployment `d1`. */
export const anyEvent: fc.Arbitrary<DeploymentEvent> = fc.record({
  deploymentId: fc.constant("d1"),
  atMs: timeMs,
  code: word,
  text: anyText,
  next: anyText,
  inputs: fc.dictionary(word, fc.oneof(anyText, fraction, fc.boolean(), fc.constant(null)), {
    maxKeys: 4,
    noNullPrototype: true,
  }),
});
