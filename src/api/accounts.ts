/** Who the caller is, and the accounts of the installation, which administrators make and list. */
import type { Account } from "../core/account.ts";
import { builtinAccount } from "../core/deployment.ts";
import {
  type AccountOut,
  accountIn,
  accountListOut,
  accountOut,
  meOut,
  newAccountOut,
} from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { addToken } from "./tokens.ts";

/** Name of the token that comes with a new account. */
const firstTokenName = "first";

export function accountOperations(deps: ApiDeps): Operation[] {
  const { store } = deps;
  return [
    operation({
      method: "GET",
      path: "/v1/me",
      answer: meOut,
      handle: async ({ caller }) => ({
        uid: caller.account,
        email: null,
        email_verified: false,
        account_setup: true,
        display_name: caller.account,
        provider: "berth",
        picture: null,
        is_admin: caller.isAdmin,
        name: caller.account,
        first_name: "",
        last_name: "",
        country: "",
        is_business_account: false,
        company: "",
        website: "",
        title: "",
      }),
    }),
    operation({
      method: "GET",
      path: "/v1/accounts",
      access: "administrator",
      answer: accountListOut,
      handle: async () => (await store.accounts()).map(toAccountOut),
    }),
    operation({
      method: "POST",
      path: "/v1/accounts",
      access: "administrator",
      body: accountIn,
      answer: newAccountOut,
      handle: async ({ body }) => {
        const account = await addAccount(deps, body.name, body.is_admin);
        const made = await addToken(deps, account.name, firstTokenName);
        if (made === null) throw accountTaken();
        return { ...toAccountOut(account), token: made.secret, token_id: made.token.id };
      },
    }),
  ];
}

/**
 * The new account; or the one that has this name when it has no token, as after a crash between the two writes, so that
 * asking again mends it.
 */
async function addAccount(deps: ApiDeps, name: string, isAdmin: boolean): Promise<Account> {
  const same = (other: string) => other.toLowerCase() === name.toLowerCase();
  if (same(builtinAccount)) throw accountTaken();
  const known = (await deps.store.accounts()).find((account) => same(account.name));
  if (known !== undefined) {
    const isUnfinished = known.name === name && (await deps.store.tokens(known.name)).length === 0;
    if (!isUnfinished) throw accountTaken();
    return known;
  }
  const account: Account = { name, isAdmin, createdAtMs: deps.clock.now() };
  if ((await deps.store.addAccount(account)) === "taken") throw accountTaken();
  return account;
}

function accountTaken(): HttpError {
  return new HttpError("name_taken", "There is an account of that name already. Take another name.", {
    param: "name",
  });
}

function toAccountOut({ name, isAdmin, createdAtMs }: Account): AccountOut {
  return accountOut.parse({ name, is_admin: isAdmin, created_at: Math.floor(createdAtMs / 1000) });
}
