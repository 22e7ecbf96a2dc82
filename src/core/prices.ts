/**
 * What tokens and GPU time cost on this installation: two prices that are never added up. Both are 0 unless an
 * administrator sets them, because the hardware is the user's own. Pure.
 */
import { freeOfCharge, type TokenPrices } from "./usage.ts";

export type Prices = {
  /** By full model name; `*` is for every model that has no price of its own. */
  readonly models: ReadonlyMap<string, TokenPrices>;
  /** US dollars for one GPU and hour, by GPU type; `other` is the CPU where no other GPU is. */
  readonly gpus: ReadonlyMap<string, number>;
};

export const noPrices: Prices = { models: new Map(), gpus: new Map() };

/** The name that stands for every model without a price of its own. */
export const anyModel = "*";

export function tokenPricesOf(models: Prices["models"], model: string): TokenPrices {
  return models.get(model) ?? models.get(anyModel) ?? freeOfCharge;
}

/** US dollars for one GPU of this type and hour. */
export function gpuUsdPerHour({ gpus }: Prices, gpu: string): number {
  return gpus.get(gpu) ?? 0;
}
