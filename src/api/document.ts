/**
 * `/openapi.json` and `/docs`: what the API can do, for programs and for people, public and without anything from
 * elsewhere. Made once, from the operations; must not describe anything by hand.
 */
import type { FastifyInstance } from "fastify";
import { inferenceOperations } from "../schema/inference-operations.ts";
import { openApiDocument } from "../schema/openapi.ts";
import { documentPage } from "./document-page.ts";
import type { Operation } from "./operation.ts";

/** The page has no script and loads nothing. */
const pagePolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function serveDocument(app: FastifyInstance, operations: readonly Operation[], version: string): void {
  const document = openApiDocument([...operations, ...inferenceOperations], { version });
  const json = JSON.stringify(document);
  const page = documentPage(document);
  app.get("/openapi.json", async (_request, reply) =>
    reply.header("content-type", "application/json; charset=utf-8").send(json),
  );
  app.get("/docs", async (_request, reply) =>
    reply
      .header("content-type", "text/html; charset=utf-8")
      .header("content-security-policy", pagePolicy)
      .header("x-content-type-options", "nosniff")
      .send(page),
  );
}
