/**
 * Looks at repositories for those who ask what a model needs, before anything is deployed: with the rights of the
 * asker's account, few at a time, not for long, and not again within a minute. Must not fetch weights.
 */
import type { Weights } from "../core/deployment.ts";
import { type Failure, failure } from "../core/failure.ts";
import type { EngineMemory } from "../core/fit.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import { quantizationOf } from "../core/repo.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { Hub, RepoListing } from "../ports/hub.ts";

/** The engine that would load a repository's files, as far as it matters for memory. */
export type EngineChoice = {
  readonly engine: string;
  readonly runsOn: "cpu" | "gpu";
  readonly memory: EngineMemory | null;
  readonly files: RepoListing["files"];
};

export type Looked = {
  readonly commit: string;
  readonly facts: ModelFacts;
  /** Null: no installed engine loads it. */
  readonly engine: Omit<EngineChoice, "files"> | null;
};

export type LookOutcome =
  | { readonly outcome: "looked"; readonly looked: Looked }
  | { readonly outcome: "failed"; readonly failure: Failure }
  /** As many look as may. */
  | { readonly outcome: "busy" };

export type ModelLook = (account: string, weights: Weights, patienceMs?: number) => Promise<LookOutcome>;

export type ModelLookOptions = {
  readonly hub: Pick<Hub, "list" | "inspect">;
  readonly clock: Clock;
  /** HF_TOKEN where this account may use it, else null. */
  tokenOf(account: string): string | null;
  chooseEngine(listing: RepoListing, quantization: string | null): EngineChoice | null;
};

const mostAtOnce = 4;
const usualPatienceMs = 20_000;
const keptForMs = 60_000;
const mostKept = 100;

export function createModelLook(options: ModelLookOptions): ModelLook {
  const kept = new Map<string, { readonly atMs: number; readonly looked: Looked }>();
  let underWay = 0;

  return async (account, weights, patienceMs = usualPatienceMs) => {
    const key = JSON.stringify([account, weights.repo, weights.revision]);
    const known = kept.get(key);
    if (known !== undefined && options.clock.now() - known.atMs < keptForMs)
      return { outcome: "looked", looked: known.looked };
    kept.delete(key);
    if (underWay >= mostAtOnce) return { outcome: "busy" };
    underWay += 1;
    try {
      const found = await look(options, account, weights, AbortSignal.timeout(patienceMs));
      if (found.outcome !== "looked") return found;
      for (const oldest of kept.keys()) {
        if (kept.size < mostKept) break;
        kept.delete(oldest);
      }
      kept.set(key, { atMs: options.clock.now(), looked: found.looked });
      return found;
    } finally {
      underWay -= 1;
    }
  };
}

async function look(
  { hub, tokenOf, chooseEngine }: ModelLookOptions,
  account: string,
  weights: Weights,
  signal: AbortSignal,
): Promise<LookOutcome> {
  const token = tokenOf(account);
  try {
    const listing = await hub.list(weights, token, signal);
    if (!listing.ok) return { outcome: "failed", failure: listing.failure };
    const { commit } = listing.value;
    const choice = chooseEngine(listing.value, quantizationOf(weights.repo));
    const listed = { listing: listing.value, ...(choice === null ? {} : { files: choice.files }) };
    const facts = await hub.inspect(weights, token, signal, listed);
    if (!facts.ok) return { outcome: "failed", failure: facts.failure };
    const engine =
      choice === null ? null : { engine: choice.engine, runsOn: choice.runsOn, memory: choice.memory };
    return { outcome: "looked", looked: { commit, facts: facts.value, engine } };
  } catch (error) {
    if (!signal.aborted) throw error;
    return { outcome: "failed", failure: tooSlow };
  }
}

const tooSlow = failure(
  "hub_unreachable",
  "The Hugging Face endpoint did not say in time what the repository holds.",
  "Try again later.",
);

/** The first engine that can load the repository. Pure. */
export function chooseByEngines(
  engines: ReadonlyMap<string, Engine>,
  listing: RepoListing,
  quantization: string | null,
): EngineChoice | null {
  for (const engine of engines.values()) {
    const choice = engine.chooseFiles(listing, quantization);
    if (!choice.ok) continue;
    const { name, runsOn, memory } = engine;
    return { engine: name, runsOn, memory: memory ?? null, files: choice.value.files };
  }
  return null;
}
