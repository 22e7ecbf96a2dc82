/** `berth account`: who may own deployments here. For administrators. */
import type { Command } from "commander";
import { accountListOut, accountOut, newAccountOut } from "../schema/account.ts";
import { limitRequestListOut, limitRequestOut } from "../schema/limits.ts";
import { formatAge } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { collect, wholeNumber } from "./options.ts";
import { plain, renderTable } from "./terminal.ts";

type CreateOptions = { readonly admin?: boolean };
type DecisionOptions = { readonly answer?: string };
type LimitOptions = {
  readonly concurrent?: number;
  readonly rpm?: number;
  readonly tpm?: number;
  readonly gpu?: readonly string[];
  readonly defaults?: boolean;
};

const rate = wholeNumber(0, 1_000_000_000);

const examples = `
Examples:
  berth account create alice          prints alice's first token, this once
  berth account create ops --admin
  berth account ls
  berth account disable alice         her tokens are refused; her deployments stay
  berth account limits alice --concurrent 50 --gpu H100-80GB=8
  berth account requests              what accounts ask for
  berth account grant R5V7lDNzp9aCwyud`;

export function addAccount(program: Command, act: Act): void {
  const account = program
    .command("account")
    .helpCommand(false)
    .summary("list and create accounts (administrators)")
    .description("Accounts own deployments; their names begin the names of their models.")
    .addHelpText("after", examples);
  account.command("ls").alias("list").description("Lists the accounts.").action(act(runAccountLs));
  account
    .command("create")
    .description("Creates an account and prints its first token.")
    .argument("<name>", "1 to 39 letters and digits with single hyphens between them")
    .option("--admin", "the account may manage accounts and all deployments")
    .action(act(runAccountCreate));
  for (const verb of ["disable", "enable"] as const) {
    account
      .command(verb)
      .description(verb === "disable" ? "Refuses all tokens of an account." : "Takes that back.")
      .argument("<name>", "the account")
      .action(act((cli: Cli, name: string) => changeAccount(cli, name, { is_disabled: verb === "disable" })));
  }
  account
    .command("limits")
    .description("Sets limits of an account; without options it only shows them.")
    .argument("<name>", "the account")
    .option("--concurrent <count>", "requests at one model at once; 0: no limit", rate)
    .option("--rpm <count>", "requests per minute at one model; 0: no limit", rate)
    .option("--tpm <count>", "tokens per minute at one model; 0: no limit", rate)
    .option("--gpu <type=count>", "GPUs that running deployments may grow to; repeatable", collect)
    .option("--defaults", "the installation's defaults for all that is not named here")
    .action(act(runAccountLimits));
  account
    .command("requests")
    .description("Lists the requests for limits that wait.")
    .action(act(runRequests));
  for (const verb of ["grant", "reject"] as const) {
    account
      .command(verb)
      .description(verb === "grant" ? "Sets the limits that a request asks for." : "Refuses a request.")
      .argument("<request>", "its id")
      .option("--answer <text>", "a word for the asker")
      .action(act((cli: Cli, id: string, options: DecisionOptions) => decide(cli, id, verb, options)));
  }
}

async function runAccountLs(cli: Cli): Promise<void> {
  const accounts = await cli.client.call("GET", "/v1/accounts", accountListOut, { signal: cli.signal });
  if (cli.json) {
    cli.printJson(accounts);
    return;
  }
  const nowMs = cli.deps.clock.now();
  const rows = accounts.map((one) => [
    { text: one.name, paint: cli.palette.bold },
    { text: one.is_admin ? "yes" : "no" },
    { text: one.is_disabled ? "disabled" : "active" },
    { text: formatAge(one.created_at * 1000, nowMs) },
  ]);
  cli.print(renderTable(["NAME", "ADMIN", "STATE", "AGE"], rows, cli.palette));
}

async function runAccountCreate(cli: Cli, name: string, options: CreateOptions): Promise<void> {
  const body = { name, is_admin: options.admin === true };
  const created = await cli.client.call("POST", "/v1/accounts", newAccountOut, { body, signal: cli.signal });
  if (cli.json) {
    cli.printJson(created);
    return;
  }
  cli.note(`${created.name} is created. Its first token, shown this once:`);
  cli.print(`${created.token}\n`);
}

async function changeAccount(cli: Cli, name: string, body: Record<string, unknown>): Promise<void> {
  const path = `/v1/accounts/${encodeURIComponent(name)}`;
  const isChange = Object.keys(body).length > 0;
  const method = isChange ? "PATCH" : "GET";
  const options = { ...(isChange ? { body } : {}), signal: cli.signal };
  const changed = await cli.client.call(method, path, accountOut, options);
  if (cli.json) {
    cli.printJson(changed);
    return;
  }
  const { rate_limit, requests_per_minute, tpm_rate_limit, gpus } = changed.limits;
  const show = (limit: number | null) => (limit === null ? "default" : limit === 0 ? "none" : String(limit));
  const rows = [
    ["state", changed.is_disabled ? "disabled" : "active"],
    ["concurrent", show(rate_limit)],
    ["rpm", show(requests_per_minute)],
    ["tpm", show(tpm_rate_limit)],
    ...Object.entries(gpus).map(([type, count]) => [type, String(count)]),
  ];
  const cells = rows.map((row) => row.map((text) => ({ text })));
  cli.print(renderTable([changed.name.toUpperCase(), ""], cells, cli.palette));
}

async function runAccountLimits(cli: Cli, name: string, options: LimitOptions): Promise<void> {
  const { concurrent, rpm, tpm, gpu = [], defaults = false } = options;
  const unset = defaults ? null : undefined;
  const gpus = Object.fromEntries(gpu.map(readGpu));
  const limits = {
    rate_limit: concurrent ?? unset,
    requests_per_minute: rpm ?? unset,
    tpm_rate_limit: tpm ?? unset,
    ...(gpu.length === 0 ? {} : { gpus }),
  };
  const isChange = Object.values(limits).some((limit) => limit !== undefined);
  await changeAccount(cli, name, isChange ? { limits } : {});
}

/** "H100-80GB=8" */
function readGpu(text: string): [string, number] {
  const [, type = "", count = ""] = /^([^=]+)=(\d{1,6})$/.exec(text) ?? [];
  if (type !== "") return [type, Number(count)];
  throw new CliError(exitCodes.usage, "--gpu takes a type and a count, as in H100-80GB=8.");
}

async function runRequests(cli: Cli): Promise<void> {
  const options = { signal: cli.signal };
  const requests = await cli.client.call("GET", "/v1/berth/limit-requests", limitRequestListOut, options);
  if (cli.json) {
    cli.printJson(requests);
    return;
  }
  const nowMs = cli.deps.clock.now();
  const rows = requests.map(({ request_id, account, wanted, reason, created_at }) => {
    const { gpus = {}, ...rates } = wanted;
    const parts = Object.entries({ ...rates, ...gpus }).map(([what, count]) => `${what}=${count}`);
    const texts = [request_id, account, parts.join(" "), plain(reason), formatAge(created_at * 1000, nowMs)];
    return texts.map((text) => ({ text }));
  });
  cli.print(renderTable(["ID", "ACCOUNT", "WANTS", "REASON", "AGE"], rows, cli.palette));
}

async function decide(
  cli: Cli,
  id: string,
  verb: "grant" | "reject",
  { answer = "" }: DecisionOptions,
): Promise<void> {
  const path = `/v1/berth/limit-requests/${encodeURIComponent(id)}/${verb}`;
  const decided = await cli.client.call("POST", path, limitRequestOut, {
    body: { answer },
    signal: cli.signal,
  });
  if (cli.json) cli.printJson(decided);
  else cli.print(`The request of ${plain(decided.account)} is ${decided.state}.\n`);
}
