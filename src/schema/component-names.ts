/**
 * The names that shapes have in the OpenAPI document: DeepInfra's, so that clients which are generated from either document
 * are the same. What has no name here is written out where it is used.
 */
import { z } from "zod";
import * as account from "./account.ts";
import * as deploy from "./deploy.ts";
import * as errors from "./error-body.ts";
import * as inference from "./inference.ts";
import * as limits from "./limits.ts";
import * as logs from "./logs.ts";
import * as models from "./models.ts";
import * as jwt from "./scoped-jwt.ts";
import * as usage from "./usage.ts";

const names: readonly (readonly [z.ZodType, string])[] = [
  [errors.deepErrorOut, "DeepError"],
  [errors.validationErrorOut, "HTTPValidationError"],
  [account.meOut, "Me"],
  [account.meIn, "MeIn"],
  [account.checklistOut, "Checklist"],
  [account.emailsOut, "EmailsOut"],
  [limits.rateLimitOut, "RateLimitOut"],
  [limits.rateLimitRequestIn, "RateLimitRequestIn"],
  [limits.gpuLimitOut, "GpuLimitOut"],
  [limits.gpuLimitRequestIn, "GpuLimitRequestIn"],
  [jwt.scopedJwtIn, "ScopedJWTIn"],
  [jwt.scopedJwtOut, "ScopedJWTOut"],
  [jwt.scopedJwtRightsOut, "InspectScopedJWTOut"],
  [models.modelOut, "ModelOut"],
  [models.modelInfoOut, "ModelInfoOut"],
  [models.modelMetaIn, "ModelMetaIn"],
  [models.modelPublicityIn, "ModelPublicityIn"],
  [deploy.deployModelIn, "DeployModelIn"],
  [deploy.hfModelIn, "HFModel"],
  [account.apiTokenIn, "ApiTokenIn"],
  [account.apiTokenOut, "ApiToken"],
  [deploy.deployLlmIn, "DeployLLMIn"],
  [deploy.deployUpdateIn, "DeployLLMUpdateIn"],
  [deploy.hfWeightsIn, "HFWeights"],
  [deploy.scaleSettingsIn, "ScaleSettings"],
  [deploy.deploymentOut, "DeploymentOut"],
  [deploy.deployIdOut, "DeployStatusOut"],
  [deploy.gpuAvailabilityOut, "DeployGPUAvailability"],
  [logs.logsOut, "LogQueryOut"],
  [logs.deploymentLogsOut, "DeploymentLogQueryOut"],
  [usage.deploymentMainStatsOut, "DeploymentMainStatsOut"],
  [usage.deploymentStatsOut, "DeploymentStatsOut"],
  [usage.detailedDeploymentStatsOut, "DetailedDeploymentStatsOut"],
  [usage.usageOut, "UsageOut"],
  [usage.usageRentOut, "UsageRentOut"],
  [usage.requestCostQuery, "RequestCostQuery"],
  [usage.requestCostResponse, "RequestCostResponse"],
  [usage.webLiveMetricsOut, "WebLiveMetricsOut"],
  [inference.chatCompletionsIn, "OpenAIChatCompletionsIn"],
  [inference.completionsIn, "OpenAICompletionsIn"],
  [inference.embeddingsIn, "OpenAIEmbeddingsIn"],
  [inference.openAiModelOut, "OpenAIModelOut"],
  [inference.openAiModelsOut, "OpenAIModelsOut"],
  [inference.anthropicMessagesIn, "AnthropicMessagesIn"],
  [inference.anthropicTokenCountIn, "AnthropicTokenCountRequest"],
];

/** For z.toJSONSchema. */
export function componentRegistry() {
  const registry = z.registry<{ id: string }>();
  for (const [shape, id] of names) registry.add(shape, { id });
  return registry;
}
