/**
 * Statistics: what a deployment's requests came to in a window of time, for its owner, and what the whole installation
 * does right now, for everyone. Owns how sums become figures; which requests count as what is `core/usage-totals`'s.
 */
import { meanOf, quantileOf, type Sketch } from "../core/sketch.ts";
import { readTime, timeFormRule } from "../core/time-form.ts";
import { addTotals, noTotals, type UsageTotals } from "../core/usage-totals.ts";
import type { TimeWindow } from "../ports/usage-store.ts";
import { HttpError } from "../schema/errors.ts";
import {
  type DeploymentStatsOut,
  type DetailedDeploymentStatsOut,
  deploymentMainStatsListOut,
  deploymentStatsOut,
  detailedDeploymentStatsOut,
  statsPath,
  statsQuery,
  webLiveMetricsOut,
} from "../schema/usage.ts";
import { valueError } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation, publicOperation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { findDeployment, listDeployments } from "./visibility.ts";

export function statsOperations(deps: ApiDeps): Operation[] {
  const { store, clock } = deps;
  const totalsOf = async (caller: Caller, id: string, query: { from: string; to: string }) => {
    const deployment = await findDeployment(store, caller, id, "manage");
    if (deployment.desired === "delete") {
      throw new HttpError("gone", `${deployment.name} was deleted; its statistics are gone.`);
    }
    return await store.usage.totals(deployment.id, readWindow(query, clock.now()));
  };
  return [
    operation({
      method: "GET",
      path: "/deploy/stats",
      id: "deployment_stats_deploy_stats_get",
      summary: "Requests of each of your deployments in a window of time.",
      query: statsQuery,
      answer: deploymentMainStatsListOut,
      handle: async ({ caller, query }) => {
        const window = readWindow(query, clock.now());
        const deployments = await listDeployments(store, caller, undefined, false);
        const ids = deployments.map((deployment) => deployment.id);
        const sums = Map.groupBy(
          await store.usage.sums({ deploymentIds: ids }, window),
          (sum) => sum.deploymentId,
        );
        return deployments.map(({ id, name }) => ({
          model_name: name,
          requests: (sums.get(id) ?? []).reduce((total, sum) => total + sum.requests, 0),
        }));
      },
    }),
    operation({
      method: "GET",
      path: "/deploy/:deploy_id/stats",
      id: "deploy_stats_deploy__deploy_id__stats_get",
      summary: "Requests, tokens, times, errors and cost of a deployment in a window of time.",
      params: statsPath,
      query: statsQuery,
      answer: deploymentStatsOut,
      handle: async ({ caller, path, query }) => {
        const byKind = await totalsOf(caller, path.deploy_id, query);
        return toStatsOut([...byKind.values()].reduce(addTotals, noTotals));
      },
    }),
    operation({
      method: "GET",
      path: "/deploy/:deploy_id/stats2",
      id: "deploy_detailed_stats_deploy__deploy_id__stats2_get",
      summary: "The same by kind of request, with times to the first token and for each token.",
      params: statsPath,
      query: statsQuery,
      answer: detailedDeploymentStatsOut,
      handle: async ({ caller, path, query }) => {
        const byKind = await totalsOf(caller, path.deploy_id, query);
        return {
          llm: toLlmOut(byKind.get("llm")),
          embeddings: toEmbeddingsOut(byKind.get("embeddings")),
          time: toTimeOut(byKind.get("time")),
        };
      },
    }),
    publicOperation({
      method: "GET",
      path: "/v1/metrics/live",
      id: "get_live_metrics_v1_metrics_live_get",
      summary: "Requests and tokens a second and time to the first token, over the last minute.",
      answer: webLiveMetricsOut,
      handle: async () => {
        const { requestsPerS, tokensPerS, ttftS } = deps.liveRate();
        return {
          tokens_per_second: rounded(tokensPerS),
          time_to_first_token: ttftS === null ? null : rounded(ttftS),
          requests_per_second: rounded(requestsPerS),
          total_tflops: null,
        };
      },
    }),
  ];
}

/** Throws InputError for what is no time, or a window that ends before it begins. */
function readWindow(query: { readonly from: string; readonly to: string }, nowMs: number): TimeWindow {
  const read = (name: "from" | "to") => {
    const atMs = readTime(query[name], nowMs);
    if (atMs !== null) return atMs;
    throw new InputError([valueError(["query", name], `${name} must be ${timeFormRule}.`)]);
  };
  const [fromMs, toMs] = [read("from"), read("to")];
  if (toMs < fromMs) throw new InputError([valueError(["query", "to"], "to must not be before from.")]);
  return { fromMs, toMs };
}

function toStatsOut(totals: UsageTotals): DeploymentStatsOut {
  return {
    requests: totals.requests,
    total_time: Math.round(totals.durationMs / 1000),
    total_tokens: totals.inputTokens + totals.outputTokens,
    input_tokens: totals.inputTokens,
    output_tokens: totals.outputTokens,
    total_amount: toCents(totals),
    avg_time: rounded(meanOf(totals.timesMs)),
    avg95_time: p95(totals.timesMs),
    errors: totals.errors,
  };
}

function toLlmOut(totals: UsageTotals | undefined): DetailedDeploymentStatsOut["llm"] {
  if (totals === undefined) return null;
  return {
    requests: totals.requests,
    input_tokens: totals.inputTokens,
    output_tokens: totals.outputTokens,
    avg_ttft_ms: rounded(meanOf(totals.ttftsMs)),
    avg95_ttft_ms: p95(totals.ttftsMs),
    avg_tpt_ms: rounded(meanOf(totals.perTokenMs)),
    avg95_tpt_ms: p95(totals.perTokenMs),
    total_amount_cents: toCents(totals),
    errors: totals.errors,
  };
}

function toEmbeddingsOut(totals: UsageTotals | undefined): DetailedDeploymentStatsOut["embeddings"] {
  if (totals === undefined) return null;
  return {
    requests: totals.requests,
    input_tokens: totals.inputTokens,
    avg_tpt_ms: rounded(meanOf(totals.perTokenMs)),
    avg95_tpt_ms: p95(totals.perTokenMs),
    total_amount_cents: toCents(totals),
    errors: totals.errors,
  };
}

function toTimeOut(totals: UsageTotals | undefined): DetailedDeploymentStatsOut["time"] {
  if (totals === undefined) return null;
  return {
    requests: totals.requests,
    total_time_s: Math.round(totals.durationMs / 1000),
    total_amount_cents: toCents(totals),
    avg_time_ms: rounded(meanOf(totals.timesMs)),
    avg95_time_ms: p95(totals.timesMs),
    errors: totals.errors,
  };
}

function p95(times: Sketch): number {
  return rounded(quantileOf(times, 0.95));
}

/** Billionths of a dollar to whole cents. */
function toCents({ costNanoUsd }: Pick<UsageTotals, "costNanoUsd">): number {
  return Math.round(costNanoUsd / 1e7);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
