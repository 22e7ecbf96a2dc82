/** Whether the engines of a driver are kept away from Berth's state and from each other, and what follows for accounts. Pure. */
import { builtinAccount } from "./deployment.ts";

export type Isolation =
  | { readonly isIsolated: true }
  | {
      readonly isIsolated: false;
      /** What is missing, as part of a sentence. */
      readonly reason: string;
      /** What would change it, a sentence. */
      readonly next: string;
    };

/**
 * Null when `account` may deploy, else why not. An engine that is not isolated can read what its neighbours can, so
 * models of several accounts run side by side only where that is had, or where an administrator accepts it.
 * @param others accounts that have deployments
 */
export function refuseNeighbour(
  isolation: Isolation,
  account: string,
  others: readonly string[],
  isAccepted: boolean,
): string | null {
  if (isolation.isIsolated || isAccepted) return null;
  // The built-in account's starter is everybody's and has no secret.
  const own = [account.toLowerCase(), builtinAccount];
  const isAlone = others.every((other) => own.includes(other.toLowerCase()));
  if (isAlone) return null;
  return `Engines are not isolated from each other here, so only one account may deploy: ${isolation.reason}. ${isolation.next} An administrator can accept it with BERTH_SHARED_ENGINES=on.`;
}
