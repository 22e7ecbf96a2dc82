/** Who the caller is. What PATCH sets is given back and used for nothing else; the account's name is not one of it. */
import type { AccountTerms, Profile } from "../core/account.ts";
import { emailsOut, type MeIn, type MeOut, meIn, meOut, meQuery, nothingOut } from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function meOperations({ store }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/me",
      id: "me_v1_me_get",
      summary: "Who the token belongs to",
      query: meQuery,
      answer: meOut,
      handle: async ({ caller, query }) => {
        const { profile } = await store.access.terms(caller.account);
        return toMeOut(caller, profile, query.checklist === "true" || query.checklist === "1");
      },
    }),
    operation({
      method: "PATCH",
      path: "/v1/me",
      id: "account_update_details_v1_me_patch",
      summary: "Set what GET /v1/me says of the person",
      body: meIn,
      answer: nothingOut,
      handle: async ({ caller, body }) => {
        if ((body.display_name ?? caller.account) !== caller.account) {
          throw new HttpError(
            "conflict",
            "An account keeps its name: those of its models begin with it. Ask an administrator for another account.",
          );
        }
        await store.access.changeTerms(caller.account, (current) => withProfile(current, body));
        return {};
      },
    }),
    operation({
      method: "GET",
      path: "/v1/me/emails",
      id: "account_email_values_v1_me_emails_get",
      summary: "The address that was set with PATCH /v1/me",
      answer: emailsOut,
      handle: async ({ caller }) => {
        const { email } = (await store.access.terms(caller.account)).profile;
        return { emails: email === undefined ? [] : [email] };
      },
    }),
  ];
}

function toMeOut({ account, isAdmin }: Caller, profile: Profile, withChecklist: boolean): MeOut {
  return {
    uid: account,
    email: profile.email ?? null,
    email_verified: false,
    account_setup: true,
    require_email_verified: false,
    display_name: account,
    provider: "berth",
    picture: null,
    is_admin: isAdmin,
    name: profile.name ?? account,
    first_name: profile.firstName ?? "",
    last_name: profile.lastName ?? "",
    country: profile.country ?? "",
    is_business_account: profile.isBusiness ?? false,
    company: profile.company ?? "",
    website: profile.website ?? "",
    title: profile.title ?? "",
    is_team_account: false,
    is_team_owner: false,
    team_role: null,
    team_display_name: null,
    is_team_upgrade_enabled: false,
    vercel_connection: null,
    checklist: withChecklist ? nothingOwed : null,
  };
}

const nothingOwed = {
  email: true,
  billing_address: true,
  payment_method: true,
  suspended: false,
  overdue_invoices: 0,
  last_checked: 0,
  stripe_balance: 0,
  recent: 0,
  limit: null,
  suspend_reason: null,
  topup: false,
  topup_amount: 0,
  topup_threshold: 0,
  topup_failed: false,
};

function withProfile(current: AccountTerms, body: MeIn): AccountTerms {
  const given = {
    name: body.name,
    firstName: body.first_name,
    lastName: body.last_name,
    country: body.country,
    email: body.email,
    isBusiness: body.is_business_account,
    company: body.company,
    website: body.website,
    title: body.title,
  };
  const set = Object.entries(given).filter(([, value]) => value !== null && value !== undefined);
  return { ...current, profile: { ...current.profile, ...(Object.fromEntries(set) as Profile) } };
}
