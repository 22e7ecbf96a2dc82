/**
 * `/openapi.json` and `/docs`: what the API can do, for programs and for people, public and without anything from
 * elsewhere. Made from the operations, when it is asked for first; must not describe anything by hand.
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
  let made: { readonly json: string; readonly page: string } | null = null;
  // Not at the start: it takes as long as making all the rest of the API, and most controls are never asked.
  const document = () => {
    if (made !== null) return made;
    const described = openApiDocument([...operations, ...inferenceOperations], { version });
    made = { json: JSON.stringify(described), page: documentPage(described) };
    return made;
  };
  app.get("/openapi.json", async (_request, reply) =>
    reply.header("content-type", "application/json; charset=utf-8").send(document().json),
  );
  app.get("/docs", async (_request, reply) =>
    reply
      .header("content-type", "text/html; charset=utf-8")
      .header("content-security-policy", pagePolicy)
      .header("x-content-type-options", "nosniff")
      .send(document().page),
  );
}
