/**
 * The record of changes: `app.ts` leaves an entry for each successful operation that changes something; administrators
 * read them. Holds who, from where, what and when; never a body, a secret or a query.
 */
import type { FastifyRequest } from "fastify";
import { type AuditEntry, type StoredAuditEntry, targetOf } from "../core/audit.ts";
import { type AuditEntryOut, auditOut, auditQuery } from "../schema/audit.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function auditOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/berth/audit",
      id: "berth_audit",
      summary: "Who changed what, newest first",
      access: "administrator",
      query: auditQuery,
      answer: auditOut,
      handle: async ({ query }) => {
        const { limit } = query;
        const found = await deps.store.access.audit({
          account: query.account ?? null,
          action: query.action ?? null,
          target: query.target ?? null,
          fromMs: query.from === undefined ? null : query.from * 1000,
          toMs: query.to === undefined ? null : query.to * 1000,
          beforeSeq: query.cursor ?? null,
          // One more tells whether there are more.
          limit: limit + 1,
        });
        const entries = found.slice(0, limit);
        const next = found.length > limit ? (entries.at(-1)?.seq ?? null) : null;
        return { entries: entries.map(toEntryOut), next_cursor: next };
      },
    }),
  ];
}

/**
 * Called when the change is made and before it is answered. Does not throw: the change cannot be taken back, so an entry
 * that cannot be stored goes to the log, whole, and the answer stays true.
 */
export async function leaveAuditEntry(
  deps: ApiDeps,
  done: {
    readonly operation: Operation;
    readonly request: FastifyRequest;
    /** Null where nobody in particular changed something through a public operation. */
    readonly caller: Caller | null;
    readonly answer: unknown;
  },
): Promise<void> {
  const { operation: made, request, caller, answer } = done;
  const atMs = deps.clock.now();
  const entry: AuditEntry = {
    atMs,
    account: caller?.account ?? "",
    tokenId: caller?.tokenId ?? "",
    address: (caller?.address ?? "").slice(0, 64),
    action: `${made.method} ${made.path}`,
    target: targetOf(request.params, answer),
    requestId: request.id,
  };
  const { max, ageMs } = deps.limits.audit;
  try {
    await deps.store.access.addAudit(entry, { max, sinceMs: atMs - ageMs });
  } catch (error) {
    deps.log("error", "an audit entry could not be stored", { ...entry, error: String(error) });
  }
}

function toEntryOut(entry: StoredAuditEntry): AuditEntryOut {
  return {
    id: entry.seq,
    at: new Date(entry.atMs).toISOString(),
    account: entry.account,
    token_id: entry.tokenId,
    address: entry.address,
    action: entry.action,
    target: entry.target,
    request_id: entry.requestId,
  };
}
