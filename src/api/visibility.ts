/**
 * Who may see and change which deployment. What a caller may not see is "not found", in the same words as what does not
 * exist, so that nobody can tell the two apart.
 *
 * Everyone sees their own and, by id, public ones. Administrators see and change all: they answer for the machine. In
 * lists they get their own and those of the built-in account, and others only when they ask, so that `berth ls` shows
 * a fresh installation's starter and stays short later.
 */
import { accountNamePattern, builtinAccount, type Deployment } from "../core/deployment.ts";
import type { Store } from "../ports/store.ts";
import { HttpError } from "../schema/errors.ts";
import type { Caller } from "./auth.ts";

/** What an id looks like; anything else (a NUL, for one) does not reach the database. */
const idPattern = /^[A-Za-z0-9]{1,64}$/;

export function deploymentNotFound(): HttpError {
  return new HttpError("not_found", "No deployment has this id. GET /deploy/list shows yours.");
}

/** see: read it; manage: change it, and read what its engines print. */
export async function findDeployment(
  store: Store,
  caller: Caller,
  id: string,
  use: "see" | "manage",
): Promise<Deployment> {
  const deployment = idPattern.test(id) ? await store.deployment(id) : null;
  if (deployment === null) throw deploymentNotFound();
  if (caller.isAdmin || deployment.account === caller.account) return deployment;
  if (!deployment.isPublic) throw deploymentNotFound();
  if (use === "see") return deployment;
  throw new HttpError("forbidden", `Only an administrator may do this with ${deployment.name}.`);
}

/**
 * The deployments of a list, newest first.
 * @param account a name or `all`, for administrators; undefined for what the caller usually wants
 */
export async function listDeployments(
  store: Store,
  caller: Caller,
  account: string | undefined,
  includeDeleted: boolean,
): Promise<readonly Deployment[]> {
  if (account === undefined) {
    const own = await store.deployments({ account: caller.account, includeDeleted });
    if (!caller.isAdmin) return own;
    const builtin = await store.deployments({ account: builtinAccount, includeDeleted });
    return [...own, ...builtin].sort((a, b) => b.createdAtMs - a.createdAtMs);
  }
  if (!caller.isAdmin && account !== caller.account) {
    throw new HttpError("forbidden", "Only an administrator may list other accounts' deployments.");
  }
  if (!accountNamePattern.test(account)) {
    throw new HttpError("bad_request", "account must be an account's name, or all.");
  }
  return await store.deployments(account === "all" ? { includeDeleted } : { account, includeDeleted });
}
