/**
 * Whose deployments the installation's own Hugging Face token serves. Pure. Must not hold the token itself.
 */

/**
 * @param named BERTH_HF_TOKEN_ACCOUNTS, names with commas between; without it the first account alone
 * @returns whether `account` may use the token; capital letters make no difference, as in the names of accounts
 */
export function servesAccount(named: string | undefined, firstAccount: string, account: string): boolean {
  const names = named?.split(",").map((name) => name.trim()) ?? [firstAccount];
  return names.some((name) => name !== "" && name.toLowerCase() === account.toLowerCase());
}
