/**
 * Sends each request to the one that serves its path. Owns which methods a path takes and what is said while there are no
 * routes to go by; must not decide what a neighbour decides.
 */
import { HttpError } from "../schema/errors.ts";
import { reasonUnavailable } from "../schema/unavailable.ts";
import { sendError, sendJson } from "./answer.ts";
import { type ControlTarget, proxyToControl } from "./control-proxy.ts";
import { noStoredResponse } from "./faces/responses.ts";
import { type InferenceDeps, serveInference } from "./inference.ts";
import { type MetricsPageDeps, sendMetrics } from "./metrics-page.ts";
import { type ModelsRoute, sendModels } from "./models-page.ts";
import { errorBodyOf, type Route } from "./routes.ts";
import type { Visit } from "./visit.ts";

export type ServiceOptions = {
  readonly inference: InferenceDeps;
  readonly metricsPage: MetricsPageDeps;
  readonly control: ControlTarget;
  /** There are routes to go by, and this process is not about to stop. */
  isReady(): boolean;
};

/** @returns what serves a visit; throws, or rejects, with what the client is to be told */
export function createService(options: ServiceOptions): (visit: Visit, route: Route) => void | Promise<void> {
  const { authenticator, directory } = options.inference;

  async function serveModels(visit: Visit, route: ModelsRoute): Promise<void> {
    sendModels(visit.response, await authenticator.find(visit, directory()), directory(), route);
  }

  async function refuseStored(visit: Visit): Promise<never> {
    await authenticator.require(visit, directory());
    throw noStoredResponse();
  }

  return (visit, route) => {
    const { response, record } = visit;
    switch (route.kind) {
      case "healthz":
        return sendJson(response, 200, { status: "ok" });
      case "readyz": {
        const isReady = options.isReady();
        return sendJson(response, isReady ? 200 : 503, { status: isReady ? "ready" : "not ready" });
      }
      case "metrics":
        if (!allows(visit, ["GET", "HEAD"], route)) return;
        return sendMetrics(options.metricsPage, visit);
      case "inference":
        if (!allows(visit, ["POST"], route)) return;
        return serveInference(options.inference, visit, route);
      case "models":
      case "model":
        if (!allows(visit, ["GET", "HEAD"], route)) return;
        return serveModels(visit, route);
      case "response":
        return refuseStored(visit);
      case "nothing": {
        const reason = reasonUnavailable(record.method, record.path);
        if (reason !== null) throw new HttpError("not_implemented", reason);
        throw new HttpError("not_found", "There is nothing at this path. GET /docs shows what there is.");
      }
      case "control":
        return proxyToControl(visit, route.target, options.control);
    }
  };
}

/** True when the method is one of these; else answers 405, or what is allowed when that was the question. */
function allows({ request, response }: Visit, methods: readonly string[], route: Route): boolean {
  if (methods.includes(request.method)) return true;
  response.setHeader("allow", [...methods, "OPTIONS"].join(", "));
  if (request.method === "OPTIONS") response.send(204, []);
  else {
    const text = `This path takes ${methods.join(" and ")} only.`;
    sendError(response, new HttpError("method_not_allowed", text), errorBodyOf(route));
  }
  return false;
}
