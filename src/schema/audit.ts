/** The wire shapes of the record of changes: Berth's own. */
import { z } from "zod";
import { laxInt } from "./lax.ts";

const word = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x20-\x7e]+$/)
  .optional();
const unixSeconds = laxInt(z.int().min(0).max(253_402_300_799)).optional();

/** Query of `GET /v1/berth/audit`. `target` is an id or a name; `from` inclusive, `to` exclusive, in unix seconds. */
export const auditQuery = z.object({
  account: word,
  action: word,
  target: word,
  from: unixSeconds,
  to: unixSeconds,
  /** `next_cursor` of the page before. */
  cursor: laxInt(z.int().min(1)).optional(),
  limit: laxInt(z.int().min(1).max(1000)).default(100),
});

export const auditEntryOut = z.object({
  id: z.int(),
  /** ISO 8601. */
  at: z.string(),
  account: z.string(),
  token_id: z.string(),
  address: z.string(),
  /** Method and path pattern. */
  action: z.string(),
  target: z.record(z.string(), z.string()),
  request_id: z.string(),
});
export type AuditEntryOut = z.output<typeof auditEntryOut>;

export const auditOut = z.object({ entries: z.array(auditEntryOut), next_cursor: z.int().nullable() });
