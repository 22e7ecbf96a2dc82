/** `berth account`: who may own deployments here. For administrators. */
import type { Command } from "commander";
import { accountListOut, newAccountOut } from "../schema/account.ts";
import { formatAge } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { renderTable } from "./terminal.ts";

type CreateOptions = { readonly admin?: boolean };

const examples = `
Examples:
  berth account create alice          prints alice's first token, this once
  berth account create ops --admin
  berth account ls`;

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
    { text: formatAge(one.created_at * 1000, nowMs) },
  ]);
  cli.print(renderTable(["NAME", "ADMIN", "AGE"], rows, cli.palette));
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
