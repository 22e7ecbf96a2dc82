/**
 * What an account has used, as its clients ask for it: GPU time of its deployments, tokens of its requests, the cost of
 * single requests. Two prices that are never added up: an answer is of GPU time or of tokens. Berth takes no money: what
 * it costs is what `BERTH_PRICES` says.
 */
import type { Deployment } from "../core/deployment.ts";
import { runMsWithin } from "../core/rent.ts";
import { type Month, monthFormRule, monthOf, monthsBetween, readMonth } from "../core/time-form.ts";
import type { UsageSum } from "../ports/usage-store.ts";
import { HttpError } from "../schema/errors.ts";
import {
  rentQuery,
  requestCostQuery,
  requestCostResponse,
  type UsageItemOut,
  type UsageOut,
  usageOut,
  usageQuery,
  usageRentOut,
  usageTokenPath,
} from "../schema/usage.ts";
import { valueError } from "../schema/validation.ts";
import { type Caller, hashToken } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";

/** Most months of one answer, the newest. */
const maxMonths = 36;
const secondMs = 1000;

export function paymentOperations(deps: ApiDeps): Operation[] {
  const { store, clock } = deps;
  return [
    operation({
      method: "GET",
      path: "/payment/usage/rent",
      id: "usage_rent_payment_usage_rent_get",
      summary: "Seconds of GPU time that each of your deployments used in a window of time.",
      query: rentQuery,
      answer: usageRentOut,
      handle: async ({ caller, query }) => {
        const now = clock.now();
        const window = { fromMs: query.from * secondMs, toMs: Math.min(now, (query.to ?? now) * secondMs) };
        const usedMs = new Map<string, number>();
        for (const run of await store.usage.runs(caller.account, window))
          add(usedMs, run.deploymentId, run.gpus * runMsWithin(run, window, now));
        const seconds = [...usedMs].map(([id, ms]) => [id, Math.round(ms / secondMs)] as const);
        return { id_to_duration: Object.fromEntries(seconds) };
      },
    }),
    operation({
      method: "GET",
      path: "/payment/usage",
      id: "usage_payment_usage_get",
      summary: "GPU time of your deployments by month, with its cost.",
      query: usageQuery,
      answer: usageOut,
      handle: async ({ caller, query }) =>
        await byMonth(deps, caller, query, (month) => rentItems(deps, caller, month)),
    }),
    operation({
      method: "GET",
      path: "/payment/usage/tokens",
      id: "usage_tokens_payment_usage_tokens_get",
      summary: "Tokens of your requests by month and model, with their cost.",
      query: usageQuery,
      answer: usageOut,
      handle: async ({ caller, query }) =>
        await byMonth(deps, caller, query, (month) => tokenItems(deps, { account: caller.account }, month)),
    }),
    operation({
      method: "GET",
      path: "/payment/usage/:api_token",
      id: "usage_api_token_payment_usage__api_token__get",
      summary: "The same for the requests of one API token, named by its secret or its id.",
      params: usageTokenPath,
      query: usageQuery,
      answer: usageOut,
      handle: async ({ caller, path, query }) => {
        const own = await store.tokens(caller.account);
        const hash = hashToken(path.api_token);
        const token = own.find((each) => each.hash === hash || each.id === path.api_token);
        if (token === undefined) {
          throw new HttpError("not_found", "There is no such token. GET /v1/api-tokens lists yours.");
        }
        const of = { account: caller.account, tokenId: token.id };
        return await byMonth(deps, caller, query, (month) => tokenItems(deps, of, month));
      },
    }),
    operation({
      method: "POST",
      path: "/v1/request-costs",
      isChange: false,
      id: "get_request_costs_v1_request_costs_post",
      summary: "What single requests of yours cost, by the id that each answer carried in X-Request-Id.",
      body: requestCostQuery,
      answer: requestCostResponse,
      handle: async ({ caller, body }) => {
        const costs = await store.usage.costs(caller.account, body.requestIds);
        const known = [...new Set(body.requestIds)].flatMap((requestId) => {
          const costNanoUsd = costs.get(requestId);
          return costNanoUsd === undefined ? [] : [{ requestId, costNanoUsd }];
        });
        return { requests: known };
      },
    }),
  ];
}

type Priced = { readonly item: UsageItemOut; readonly cents: number };

async function byMonth(
  { store, clock }: ApiDeps,
  caller: Caller,
  query: { readonly from: string; readonly to?: string | undefined },
  itemsOf: (month: Month) => Promise<Priced[]>,
): Promise<UsageOut> {
  const now = clock.now();
  const from = monthIn(query.from, "from", now);
  const to = query.to === undefined ? from : monthIn(query.to, "to", now);
  const months: UsageOut["months"] = [];
  for (const month of monthsBetween(from, to, maxMonths)) {
    const items = await itemsOf(month);
    months.push({
      period: month.name,
      interval: { fr: month.fromMs, to: month.toMs - 1 },
      items: items.map(({ item }) => item),
      total_cost: Math.round(items.reduce((sum, { cents }) => sum + cents, 0)),
      invoice_id: "EMPTY",
    });
  }
  const first = await store.usage.firstUseMs(caller.account);
  return { months, initial_month: monthOf(first ?? now).name };
}

function monthIn(text: string, name: "from" | "to", nowMs: number): Month {
  const month = readMonth(text, nowMs);
  if (month !== null) return month;
  throw new InputError([valueError(["query", name], `${name} must be ${monthFormRule}.`)]);
}

/** One item for each deployment and price. */
async function rentItems({ store, clock }: ApiDeps, caller: Caller, month: Month): Promise<Priced[]> {
  const now = clock.now();
  const runs = await store.usage.runs(caller.account, month);
  const items: Priced[] = [];
  for (const [id, own] of Map.groupBy(runs, (run) => run.deploymentId)) {
    const deployment = await store.deployment(id);
    for (const [usdPerGpuHour, alike] of Map.groupBy(own, (run) => run.usdPerGpuHour)) {
      const usedMs = alike.reduce((sum, run) => sum + run.gpus * runMsWithin(run, month, now), 0);
      const rate = (usdPerGpuHour * 100) / 3600;
      const cents = (usedMs / secondMs) * rate;
      const units = Math.round(usedMs / secondMs);
      items.push({
        cents,
        item: {
          ...itemOf(deployment, id, month),
          units,
          rate,
          cost: Math.round(cents),
          pricing_type: "uptime",
        },
      });
    }
  }
  return items;
}

/** One item for each model; its rate is what a token cost on average. */
async function tokenItems(
  { store }: ApiDeps,
  of: { readonly account: string; readonly tokenId?: string },
  month: Month,
): Promise<Priced[]> {
  const items: Priced[] = [];
  const sums: UsageSum[] = await store.usage.sums(of, month);
  for (const [id, own] of Map.groupBy(sums, (sum) => sum.deploymentId)) {
    const units = own.reduce((total, sum) => total + sum.inputTokens + sum.outputTokens, 0);
    const cents = own.reduce((total, sum) => total + sum.costNanoUsd, 0) / 1e7;
    const rate = units === 0 ? 0 : cents / units;
    const item = itemOf(await store.deployment(id), id, month);
    items.push({ cents, item: { ...item, units, rate, cost: Math.round(cents), pricing_type: "tokens" } });
  }
  return items;
}

function itemOf(
  deployment: Deployment | null,
  id: string,
  month: Month,
): Pick<UsageItemOut, "model" | "interval" | "discount"> {
  return {
    model: {
      provider: "berth",
      model_name: deployment?.name ?? id,
      task: deployment?.resolved?.task ?? "text-generation",
      plan_id: null,
      private: deployment?.isPublic !== true,
    },
    interval: { fr: month.fromMs, to: month.toMs - 1 },
    discount: null,
  };
}

function add(sums: Map<string, number>, key: string, more: number): void {
  sums.set(key, (sums.get(key) ?? 0) + more);
}
