/**
 * How much memory one engine on the CPU may have, and what is told of one that ran out of it. Pure. GPUs bound their engines
 * themselves; on the CPU one that takes more than was reckoned would take it from Berth and from its neighbours.
 */
import { type Failure, failure } from "./failure.ts";
import type { EngineMemory, Fit } from "./fit.ts";
import { type FitInput, fitDeployment, usualMemory } from "./fit-deployment.ts";
import type { EngineKind } from "./fit-weights.ts";
import type { Placement } from "./instance.ts";

/** How an installation bounds engines: by what a model should need, by one number for all (bytes), or not at all. */
export type MemoryRule = "auto" | "off" | number;

const mib = 2 ** 20;

/** An estimate may be off by this much before an engine is taken for one that has gone wrong. */
const marginFactor = 1.25;
/** What a program of this kind takes beside its model: its libraries, and what it compiles. */
const programBytes: Readonly<Record<EngineKind, number>> = { llamacpp: 512 * mib, vllm: 6144 * mib };

/**
 * Bytes that an instance may have; null for no limit.
 * @param found what the model should need; null where too little is known of it, which bounds nothing
 * @param engine null where it is not known either
 */
export function memoryLimit(
  rule: MemoryRule,
  found: Fit | null,
  engine: Pick<EngineMemory, "kind" | "mostCacheBytes"> | null,
  gpus: number,
): number | null {
  if (rule === "off" || gpus > 0) return null;
  if (rule !== "auto") return rule;
  if (found === null || engine === null) return null;
  const needed = found.lines
    .filter(({ what }) => what !== "reserve")
    .map(({ what, bytes }) => (what === "cache" ? Math.min(bytes, engine.mostCacheBytes ?? bytes) : bytes))
    .reduce((sum, bytes) => sum + bytes, 0);
  return Math.min(found.memoryBytes, Math.ceil(needed * marginFactor) + programBytes[engine.kind]);
}

/** The limit of a deployment's instance at a place. */
export function memoryOf(rule: MemoryRule, input: FitInput, { gpus }: Placement): number | null {
  const facts = input.deployment.resolved?.facts;
  const engine = input.engineMemory ?? (facts === undefined ? null : usualMemory(facts));
  return memoryLimit(rule, fitDeployment(input), engine, gpus.length);
}

const more = "BERTH_ENGINE_MEMORY gives engines more.";
const nextOfLimit = `Choose a smaller model or quantization, a shorter context or fewer slots. ${more}`;

/**
 * An end as it is told where the engine had a limit: to whoever reads it, memory that the machine has and the engine may not use
 * is another matter than memory that the machine lacks.
 * @param isKilled the kernel ended it at its limit
 */
export function explainLimit(cause: Failure, limitBytes: number | null, isKilled: boolean): Failure {
  if (limitBytes === null) return cause;
  const limit = describeBytes(limitBytes);
  if (isKilled) {
    const message = `The engine used more memory than the ${limit} that it may have, and the kernel ended it.`;
    return failure("out_of_memory", message, nextOfLimit);
  }
  if (cause.code !== "out_of_memory") return cause;
  return {
    ...cause,
    message: `${cause.message} An engine here may have ${limit}.`,
    next: `${cause.next} ${more}`,
  };
}

function describeBytes(bytes: number): string {
  return bytes >= 1024 * mib ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / mib)} MiB`;
}
