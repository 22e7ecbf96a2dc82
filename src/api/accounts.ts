/**
 * The accounts of the installation: administrators make, list, limit and disable them; everyone else reads their own.
 * Another account's is not found, in the words of one that does not exist.
 */
import type { Account, AccountLimits, AccountTerms } from "../core/account.ts";
import { builtinAccount, type GpuType, gpuTypes } from "../core/deployment.ts";
import {
  type AccountChange,
  type AccountOut,
  accountChangeIn,
  accountIn,
  accountListOut,
  accountOut,
  accountPath,
  newAccountOut,
} from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { addToken } from "./tokens.ts";

/** Name of the token that comes with a new account. */
const firstTokenName = "first";

export function accountOperations(deps: ApiDeps): Operation[] {
  const { access } = deps.store;
  return [
    operation({
      method: "GET",
      path: "/v1/accounts",
      id: "berth_accounts",
      summary: "All accounts",
      access: "administrator",
      answer: accountListOut,
      handle: async () => {
        const terms = await access.allTerms();
        return (await deps.store.accounts()).map((each) => toAccountOut(each, terms.get(each.name) ?? null));
      },
    }),
    operation({
      method: "POST",
      path: "/v1/accounts",
      id: "berth_account_create",
      summary: "Make an account with its first token",
      access: "administrator",
      body: accountIn,
      answer: newAccountOut,
      handle: async ({ body }) => {
        const account = await addAccount(deps, body.name, body.is_admin);
        const made = await addToken(deps, account.name, { name: firstTokenName, allowedIps: null });
        if (made === null) throw accountTaken();
        const terms = await access.terms(account.name);
        return { ...toAccountOut(account, terms), token: made.secret, token_id: made.token.id };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/accounts/:name",
      id: "berth_account",
      summary: "One account and its limits",
      params: accountPath,
      answer: accountOut,
      handle: async ({ caller, path }) => {
        const account = await findAccount(deps, caller, path.name);
        return toAccountOut(account, await access.terms(account.name));
      },
    }),
    operation({
      method: "PATCH",
      path: "/v1/accounts/:name",
      id: "berth_account_change",
      summary: "Set limits; disable or enable",
      params: accountPath,
      body: accountChangeIn,
      answer: accountOut,
      handle: async ({ caller, path, body }) => {
        const account = await findAccount(deps, caller, path.name);
        if (!caller.isAdmin) throw new HttpError("forbidden", "Only an administrator may change an account.");
        if (body.is_disabled === true && [caller.account, builtinAccount].includes(account.name)) {
          // So that an administrator is always left.
          throw new HttpError("wrong_state", `${account.name} cannot be disabled by this token.`);
        }
        const gpus = readGpus(body.limits?.gpus ?? {});
        const terms = await access.changeTerms(account.name, (current) => changed(current, body, gpus));
        return toAccountOut(account, terms);
      },
    }),
  ];
}

async function findAccount({ store }: ApiDeps, caller: Caller, name: string): Promise<Account> {
  // A name that is none (a NUL, for one) does not reach the database.
  const isName = /^[A-Za-z0-9-]{1,39}$/.test(name);
  const account = isName && (caller.isAdmin || name === caller.account) ? await store.account(name) : null;
  if (account === null) throw new HttpError("not_found", "There is no such account, or it is not yours.");
  return account;
}

type GpuChange = ReadonlyMap<GpuType, number | null>;

function readGpus(given: Readonly<Record<string, number | null>>): GpuChange {
  const read = new Map<GpuType, number | null>();
  for (const [name, count] of Object.entries(given)) {
    const type = gpuTypes.find((each) => each === name);
    if (type === undefined) {
      const message = `limits.gpus may name ${gpuTypes.join(", ")}; it has another type.`;
      throw new InputError([valueError(["body", "limits", "gpus"], message)]);
    }
    read.set(type, count);
  }
  return read;
}

/** What is absent stays, null goes back to the default. */
function changed(current: AccountTerms, body: AccountChange, gpuChange: GpuChange): AccountTerms {
  const { limits = {} } = body;
  const keep = (given: number | null | undefined, now: number | null) => (given === undefined ? now : given);
  const gpus = new Map(Object.entries(current.limits.gpus));
  for (const [type, count] of gpuChange) {
    if (count === null) gpus.delete(type);
    else gpus.set(type, count);
  }
  const next: AccountLimits = {
    concurrentRequests: keep(limits.rate_limit, current.limits.concurrentRequests),
    requestsPerMinute: keep(limits.requests_per_minute, current.limits.requestsPerMinute),
    tokensPerMinute: keep(limits.tpm_rate_limit, current.limits.tokensPerMinute),
    gpus: Object.fromEntries(gpus),
  };
  return { ...current, isDisabled: body.is_disabled ?? current.isDisabled, limits: next };
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

function toAccountOut({ name, isAdmin, createdAtMs }: Account, terms: AccountTerms | null): AccountOut {
  const limits = terms?.limits;
  return accountOut.parse({
    name,
    is_admin: isAdmin,
    is_disabled: terms?.isDisabled ?? false,
    created_at: Math.floor(createdAtMs / 1000),
    limits: {
      rate_limit: limits?.concurrentRequests ?? null,
      requests_per_minute: limits?.requestsPerMinute ?? null,
      tpm_rate_limit: limits?.tokensPerMinute ?? null,
      gpus: limits?.gpus ?? {},
    },
  });
}
