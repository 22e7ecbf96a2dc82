/** The list of models and single models, as a caller may see them. Must not decide what may be seen (models.ts and auth.ts do). */
import { HttpError } from "../schema/errors.ts";
import { sendJson } from "./answer.ts";
import { allowedModels, type Caller } from "./auth.ts";
import type { HttpResponse } from "./http/response.ts";
import { type Directory, describeModel, findModel, visibleModels } from "./models.ts";
import type { Route } from "./routes.ts";

export type ModelsRoute = Extract<Route, { readonly kind: "models" | "model" }>;

export function sendModels(
  response: HttpResponse,
  caller: Caller | null,
  directory: Directory,
  route: ModelsRoute,
): void {
  const account = caller?.account ?? null;
  const allowed = caller === null ? null : allowedModels(caller, directory);
  if (route.kind === "models") {
    const models = visibleModels(directory, account).filter((model) => allowed?.has(model) !== false);
    sendJson(response, 200, { object: "list", data: models.map(describeModel) });
    return;
  }
  const model = findModel(directory, route.name, account);
  if (model === null || allowed?.has(model) === false) {
    throw new HttpError("model_not_found", "There is no model of that name that this token may use.");
  }
  sendJson(response, 200, describeModel(model));
}
