/**
 * The API as an HTTP application: the route table mounted on Fastify. Owns what is the same for every operation: who is
 * calling, bodies, request ids, refusals, 404 and 405, one log line per request. It sits behind the gateway, which has
 * the public port. Paths are logged as patterns: they may hold a secret.
 */
import { randomUUID } from "node:crypto";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { routesVersionHeader } from "../core/routing.ts";
import { deepError, HttpError } from "../schema/errors.ts";
import { reasonUnavailable } from "../schema/unavailable.ts";
import { accountOperations } from "./accounts.ts";
import { auditOperations, leaveAuditEntry } from "./audit.ts";
import { authenticate, type Caller } from "./auth.ts";
import { parseBody } from "./body.ts";
import { historyOperations } from "./config-history.ts";
import { deepctlOperations } from "./deepctl.ts";
import { deploymentOperations } from "./deployments.ts";
import type { ApiDeps } from "./deps.ts";
import { serveDocument } from "./document.ts";
import { eventOperations } from "./events.ts";
import { fitOperations } from "./fit.ts";
import { gpuOperations } from "./gpu-availability.ts";
import { createGpuQuotas } from "./gpu-quota.ts";
import { installationOperations } from "./installation.ts";
import { legacyOperations } from "./legacy-create.ts";
import { limitRequestOperations } from "./limit-requests.ts";
import { limitOperations } from "./limits.ts";
import { logOperations } from "./logs.ts";
import { loraOperations } from "./lora.ts";
import { meOperations } from "./me.ts";
import { mountMirror } from "./mirror.ts";
import { createModelLook } from "./model-look.ts";
import { modelOperations } from "./models.ts";
import type { Access, Operation } from "./operation.ts";
import { paymentOperations } from "./payments.ts";
import { presetOperations } from "./presets.ts";
import { defect, outage, refusalOf } from "./refusal.ts";
import { scopedJwtOperations } from "./scoped-jwt.ts";
import { statsOperations } from "./stats.ts";
import { tokenOperations } from "./tokens.ts";
import { hubOperations } from "./weights.ts";
import { WrittenList } from "./written-list.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set once the token was found; stays null for a public operation without a valid one. */
    caller: Caller | null;
  }
  interface FastifyContextConfig {
    operation?: Operation;
  }
}

export type Api = {
  readonly app: FastifyInstance;
  /** The route table. */
  readonly operations: readonly Operation[];
};

/** A path parameter is an API token (up to 256 characters) or an id. */
const maxParamLength = 512;
/** Longest time to receive a request; the gateway sends it at once. */
const requestTimeoutMs = 30_000;
/** More than the 16 KiB that the gateway takes from a client: it adds some of its own. */
const maxHeaderBytes = 32_768;
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

export function createApi(given: Omit<ApiDeps, "gpuQuotas" | "look">): Api {
  const look = createModelLook({ ...given.hub, clock: given.clock, chooseEngine: given.chooseEngine });
  const deps: ApiDeps = { ...given, gpuQuotas: createGpuQuotas(given), look };
  const operations = [
    ...deploymentOperations(deps),
    ...historyOperations(deps),
    ...presetOperations(deps),
    ...legacyOperations(deps),
    ...modelOperations(deps),
    ...eventOperations(deps),
    ...gpuOperations(deps),
    ...fitOperations(deps),
    ...hubOperations(deps),
    ...logOperations(deps),
    ...statsOperations(deps),
    ...paymentOperations(deps),
    ...loraOperations(),
    ...accountOperations(deps),
    ...tokenOperations(deps),
    ...meOperations(deps),
    ...limitOperations(deps),
    ...limitRequestOperations(deps),
    ...scopedJwtOperations(deps),
    ...auditOperations(deps),
    ...deepctlOperations(),
    ...installationOperations(deps),
  ];
  const app = Fastify({
    logger: false,
    bodyLimit: deps.limits.bodyBytes,
    requestTimeout: requestTimeoutMs,
    http: { maxHeaderSize: maxHeaderBytes },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength },
    genReqId: (request) => readRequestId(request.headers["x-request-id"]),
    frameworkErrors: (error, request, reply) => {
      reply.header("x-request-id", request.id);
      refuse(deps, error, request, reply);
    },
  });
  // The size bounds their number already; with a count of its own, control would refuse what the gateway took.
  app.server.maxHeadersCount = 0;
  app.decorateRequest("caller", null);
  readBodies(app, deps.limits.bodyBytes);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    const wanted = request.routeOptions.config.operation;
    if (wanted === undefined) return;
    request.caller = await findCaller(deps, request, wanted.access);
    if (wanted.access === "administrator" && request.caller?.isAdmin !== true) {
      throw new HttpError("forbidden", "Only an administrator may do this.");
    }
  });
  app.addHook("onResponse", async (request, reply) => {
    // The gateway has the line for everyone to see; this one adds the pattern of the path.
    deps.log("debug", "request", {
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? "(none)",
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      account: request.caller?.account ?? null,
    });
    const done = request.routeOptions.config.operation;
    if (done !== undefined && reply.statusCode === done.status) done.afterwards();
  });
  app.setErrorHandler((error, request, reply) => refuse(deps, error, request, reply));
  app.setNotFoundHandler((request, reply) => refuse(deps, nothingAt(request), request, reply));
  for (const each of operations) mount(app, each, deps);
  serveDocument(app, operations, deps.version);
  refuseOtherMethods(app, operations);
  mountMirror(app, deps.hub.mirror, (headers) => authenticate(deps.store, headers));
  return { app, operations };
}

function nothingAt(request: FastifyRequest): HttpError {
  const reason = reasonUnavailable(request.method, request.url.replace(/[?#].*$/s, ""));
  if (reason !== null) return new HttpError("not_implemented", reason);
  return new HttpError("not_found", "There is nothing at this path. GET /docs shows what there is.");
}

function mount(app: FastifyInstance, mounted: Operation, deps: ApiDeps): void {
  app.route({
    method: mounted.method,
    url: mounted.path,
    config: { operation: mounted },
    handler: async (request, reply) => {
      const { caller, body, query, params } = request;
      const answer = await mounted.run({ caller, body, query, path: params });
      // Here and nowhere else, so that no operation can forget it.
      if (mounted.isChange) await leaveAuditEntry(deps, { operation: mounted, request, caller, answer });
      // The gateway passes the answer to a change on once it goes by these routes.
      if (mounted.method !== "GET") reply.header(routesVersionHeader, await deps.routesVersion());
      reply.code(mounted.status);
      if (!(answer instanceof WrittenList)) return reply.send(answer);
      return reply.type("application/json; charset=utf-8").send(answer.stream());
    },
  });
}

async function findCaller(deps: ApiDeps, request: FastifyRequest, access: Access): Promise<Caller | null> {
  try {
    return await authenticate(deps.store, request.headers);
  } catch (error) {
    // A client with an old token must still be able to read what everyone may.
    if (access === "public" && error instanceof HttpError) return null;
    throw error;
  }
}

/** A path that exists answers 405 to the methods it does not have, rather than 404; OPTIONS asks which it has. */
function refuseOtherMethods(app: FastifyInstance, operations: readonly Operation[]): void {
  for (const [path, own] of Map.groupBy(operations, (each) => each.path)) {
    const allowed = new Set<string>(own.map((each) => each.method));
    if (allowed.has("GET")) allowed.add("HEAD");
    app.route({
      method: methods.filter((method) => !allowed.has(method)),
      url: path,
      handler: async (request, reply) => {
        const reason = reasonUnavailable(request.method, path);
        if (reason !== null) throw new HttpError("not_implemented", reason);
        const allow = [...allowed, "OPTIONS"].join(", ");
        if (request.method === "OPTIONS") return reply.code(204).header("allow", allow).send();
        const { status, message } = new HttpError("method_not_allowed", `This path answers ${allow} only.`);
        return reply.code(status).header("allow", allow).send(deepError(message));
      },
    });
  }
}

/** Bodies are read where an operation takes one, as JSON whatever the Content-Type says. */
function readBodies(app: FastifyInstance, limitBytes: number): void {
  app.addHook("onRequest", async (request) => {
    // The framework would refuse a Content-Type it cannot parse before any parser of ours is asked.
    delete request.raw.headers["content-type"];
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, async (request: FastifyRequest, bytes: Buffer) =>
    request.routeOptions.config.operation?.readsBody === true
      ? await parseBody(bytes, request.headers["content-encoding"], limitBytes)
      : undefined,
  );
}

function refuse(deps: ApiDeps, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const why = deps.outageOf(error);
  const refusal = refusalOf(why === null ? error : outage(why));
  if (why !== null) {
    deps.log("error", "the database cannot be used", { requestId: request.id, error: String(error) });
  } else if (refusal === null) {
    deps.log("error", "a request failed unexpectedly", {
      requestId: request.id,
      route: request.routeOptions.url ?? "(none)",
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
  const { status, headers, body } = refusal ?? defect(request.id);
  // The rest of a body that is too large is read and dropped: a client that is still sending would miss the answer
  // if the connection were closed on it.
  reply.removeHeader("connection");
  void reply.code(status).headers(headers).send(body);
}

/** The gateway's id for this request; a new one where there is none. */
function readRequestId(header: string | string[] | undefined): string {
  return typeof header === "string" && /^[\x21-\x7e]{1,128}$/.test(header) ? header : randomUUID();
}
