/**
 * Sealing of secrets as a port: what the store keeps of them can be opened only with a key that is elsewhere.
 */

/** Seals secrets for the store (AES-256-GCM). The key never is in the database. */
export interface Vault {
  /** `purpose` is bound to the sealed text: opening it for another purpose throws. */
  seal(plain: string, purpose: string): string;
  /** Throws when the text was altered, was sealed for another purpose or with a key that is not here. */
  open(sealed: string, purpose: string): string;
}
