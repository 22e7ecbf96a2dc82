/** Who changed what: one entry for each change through the API. Plain values; never a body nor a secret. */

export type AuditEntry = {
  readonly atMs: number;
  readonly account: string;
  readonly tokenId: string;
  /** The client's, as the gateway saw it; "" where that is not known. */
  readonly address: string;
  /** Method and path pattern: `DELETE /deploy/:deploy_id`. */
  readonly action: string;
  /** What was changed, by name: `deploy_id` -> its id. */
  readonly target: Readonly<Record<string, string>>;
  readonly requestId: string;
};

/** As it was stored: `seq` counts up. */
export type StoredAuditEntry = AuditEntry & { readonly seq: number };

export type AuditQuery = {
  readonly account: string | null;
  readonly action: string | null;
  /** An id or name in `target`. */
  readonly target: string | null;
  readonly fromMs: number | null;
  readonly toMs: number | null;
  /** Only entries before this one; null for the newest. */
  readonly beforeSeq: number | null;
  readonly limit: number;
};

/** Path parameters and fields of answers that name what was changed. Others may be secret: an API token can be a path. */
const namesOfTargets = ["deploy_id", "token_id", "entry_id", "request_id", "model_name", "account", "name"];
const maxNameChars = 256;

/** What a change was about, from the path's parameters and what the answer names. */
export function targetOf(params: unknown, answer: unknown): Record<string, string> {
  const target: Record<string, string> = {};
  for (const source of [answer, params]) {
    if (typeof source !== "object" || source === null) continue;
    for (const name of namesOfTargets) {
      const value: unknown = Object.hasOwn(source, name) ? (source as Record<string, unknown>)[name] : null;
      if (typeof value === "string" && value !== "") target[name] = value.slice(0, maxNameChars);
    }
  }
  return target;
}
