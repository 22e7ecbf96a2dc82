/**
 * The lists of LoRA adapters, which are empty: no engine of this version can load one while it runs. They are answered all
 * the same, because clients ask for them before they do anything.
 */
import { adapterListOut, loraModelPath } from "../schema/lora.ts";
import { type Operation, operation, publicOperation } from "./operation.ts";

export function loraOperations(): Operation[] {
  const none = async () => [];
  return [
    publicOperation({
      method: "GET",
      path: "/models/lora/list",
      id: "models_lora_list_models_lora_list_get",
      summary: "Models that take LoRA adapters: none in this version.",
      answer: adapterListOut,
      handle: none,
    }),
    operation({
      method: "GET",
      path: "/v1/user/loras",
      id: "get_user_loras_v1_user_loras_get",
      summary: "Your LoRA adapters: none in this version.",
      answer: adapterListOut,
      handle: none,
    }),
    operation({
      method: "GET",
      path: "/v1/model/:model_name/loras",
      id: "get_model_loras_v1_model__model_name__loras_get",
      summary: "LoRA adapters of a model: none in this version.",
      params: loraModelPath,
      answer: adapterListOut,
      handle: none,
    }),
  ];
}
