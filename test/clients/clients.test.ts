/**
 * Real clients, unmodified, against a running Berth with the real engine and the model Berth ships: only the base URL is
 * changed, as each of them lets it be. One Berth serves them all; each client's cases are in a file of its own.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { type Berth, startBerth } from "../harness/berth.ts";
import { aiSdkCases } from "./ai-sdk.ts";
import { anthropicCases } from "./anthropic.ts";
import { deepinfraCases } from "./deepinfra.ts";
import { langchainCases } from "./langchain.ts";
import { llamaindexCases } from "./llamaindex.ts";
import { openaiCases } from "./openai.ts";
import { shellCases } from "./shell.ts";

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth?.end());

const url = () => berth.url;

describe("openai", () => openaiCases(url));
describe("@anthropic-ai/sdk", () => anthropicCases(url));
describe("deepinfra", () => deepinfraCases(url));
describe("@ai-sdk/deepinfra", () => aiSdkCases(url));
describe("@langchain/openai", () => langchainCases(url));
describe("@llamaindex/deepinfra", () => llamaindexCases(url));
describe("deepctl and shell scripts", () => shellCases(url));
