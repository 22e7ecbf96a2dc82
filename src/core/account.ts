/** Who owns deployments and who may call them. Plain values; no I/O. */

export type Account = {
  /** Unique, matches accountNamePattern; the prefix of the account's model names. */
  readonly name: string;
  readonly isAdmin: boolean;
  readonly createdAtMs: number;
};

/** An API token without its secret. */
export type ApiToken = {
  readonly id: string;
  readonly account: string;
  readonly name: string;
  /** sha256 (hex) of the secret, for look-up. */
  readonly hash: string;
  /** Last five characters of the secret, to recognise it in a list. */
  readonly fragment: string;
  readonly createdAtMs: number;
};
