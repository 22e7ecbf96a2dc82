/**
 * The tables as kysely sees them, in the subset that SQLite and PostgreSQL share: text, JSON as text, whole numbers
 * (milliseconds since the epoch, 0/1 flags). Names and ids are plain text; free text is always inside JSON, whose
 * escapes carry what PostgreSQL's text cannot (NUL, lone surrogates). Owns shapes only; `migrations.ts` creates them.
 */
import type { Kysely } from "kysely";

export type Tables = {
  /** One row: the number of the last migration that ran. */
  berth_schema: { version: number };
  /** `name_key` is the lower-cased name: names that differ only in case are one name. */
  accounts: { name: string; name_key: string; is_admin: number; created_at_ms: number };
  /** `name` is a JSON string, because users choose it freely. */
  tokens: {
    id: string;
    account: string;
    name: string;
    hash: string;
    fragment: string;
    created_at_ms: number;
    sealed: string;
    /** JSON of a list or of null. */
    allowed_ips: string;
    rates: string;
  };
  /** `terms` is JSON; a write names the version it read (compare and swap). */
  account_terms: { account: string; terms: string; version: number };
  /** `details` is JSON of the fields without a column. */
  limit_requests: {
    id: string;
    account: string;
    kind: string;
    state: string;
    created_at_ms: number;
    details: string;
  };
  /** `seq` counts up; `target` is JSON. */
  audit: {
    seq: number;
    at_ms: number;
    account: string;
    token_id: string;
    address: string;
    action: string;
    target: string;
    request_id: string;
  };
  /** Scoped JWTs with a spending limit that were used. */
  jwt_scopes: {
    scope_id: string;
    account: string;
    token_id: string;
    limit_nano_usd: number;
    expires_at_ms: number;
  };
  deployments: DeploymentTable;
  instances: {
    id: string;
    deployment_id: string;
    intent: string;
    created_at_ms: number;
    drain_since_ms: number | null;
    revision: number;
    warmed_at_ms: number | null;
    observed: string;
  };
  /** `seq` counts up from 1 within a deployment; `details` is JSON of text, next and inputs. */
  events: { deployment_id: string; seq: number; at_ms: number; code: string; details: string };
  /** `value` is a JSON string. */
  notes: { key: string; value: string };
  /** One inference request; `details` is JSON of the fields without a column. */
  usage_records: {
    id: string;
    request_id: string;
    account: string;
    deployment_id: string;
    started_at_ms: number;
    cost_nano_usd: number;
    details: string;
  };
  /** Sums of an hour's requests; `sketches` is JSON of their times. */
  usage_hours: {
    deployment_id: string;
    account: string;
    token_id: string;
    kind: string;
    hour_ms: number;
    requests: number;
    errors: number;
    input_tokens: number;
    output_tokens: number;
    cached_tokens: number;
    duration_ms: number;
    cost_nano_usd: number;
    sketches: string;
  };
  /** What each scoped JWT has spent. */
  usage_scopes: { scope_id: string; cost_nano_usd: number; last_at_ms: number };
  instance_runs: {
    instance_id: string;
    deployment_id: string;
    account: string;
    gpu: string;
    gpus: number;
    /** JSON of a number. */
    usd_per_gpu_hour: string;
    started_at_ms: number;
    seen_at_ms: number;
    ended_at_ms: number | null;
  };
};

export type DeploymentTable = {
  id: string;
  account: string;
  name: string;
  /** The lower-cased name, unique; null once the deployment is deleted, which frees the name. */
  live_name: string | null;
  is_public: number;
  config: string;
  settings: string;
  desired: string;
  created_at_ms: number;
  updated_at_ms: number;
  resolved: string;
  weights_ready_at_ms: number | null;
  failure: string;
  has_run: number;
  tries: string;
  revisions: string;
  load_time_ms: number | null;
  sealed_hf_token: string | null;
  /** Counts the writes of this row; a write names the one it read (compare and swap). */
  version: number;
};

/** An open database of either kind. */
export type Database = {
  readonly kysely: Kysely<Tables>;
  /** Names the file or the database in messages; never holds a password. */
  readonly where: string;
  /** Statements that open a transaction which no second starter can be in at the same time. */
  readonly beginExclusive: readonly string[];
};
