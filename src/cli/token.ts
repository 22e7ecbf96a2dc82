/** `berth token`: the API tokens of one's own account. A new secret goes to standard output alone, so it can be kept. */
import type { Command } from "commander";
import { z } from "zod";
import { type ApiTokenOut, apiTokenListOut, apiTokenOut } from "../schema/account.ts";
import { formatAge } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { plain, renderTable } from "./terminal.ts";

const examples = `
Examples:
  berth token create laptop                          prints the token, this once
  BERTH_API_TOKEN=$(berth token create ci) ./run-ci
  berth token ls
  berth token rm laptop`;

export function addToken(program: Command, act: Act): void {
  const token = program
    .command("token")
    .helpCommand(false)
    .summary("list, create and remove API tokens")
    .description("API tokens of your account. A removed token stops working within a second.")
    .addHelpText("after", examples);
  token
    .command("ls")
    .alias("list")
    .description("Lists tokens; secrets are not shown.")
    .action(act(runTokenLs));
  token
    .command("create")
    .description("Creates a token and prints it.")
    .argument("<name>", "a name to tell it by")
    .action(act(runTokenCreate));
  token
    .command("rm")
    .description("Removes a token.")
    .argument("<token>", "its name or id, not its secret")
    .action(act(runTokenRm));
}

async function runTokenLs(cli: Cli): Promise<void> {
  const tokens = await cli.client.call("GET", "/v1/api-tokens", apiTokenListOut, { signal: cli.signal });
  if (cli.json) {
    cli.printJson(tokens);
    return;
  }
  const nowMs = cli.deps.clock.now();
  const rows = tokens.map((one) => [
    { text: one.name, paint: cli.palette.bold },
    { text: `…${one.fragment}` },
    { text: one.token_id },
    { text: formatAge(one.created_at * 1000, nowMs) },
  ]);
  cli.print(renderTable(["NAME", "ENDS IN", "ID", "AGE"], rows, cli.palette));
}

async function runTokenCreate(cli: Cli, name: string): Promise<void> {
  const options = { body: { name }, signal: cli.signal };
  const created = await cli.client.call("POST", "/v1/api-tokens", apiTokenOut, options);
  if (cli.json) {
    cli.printJson(created);
    return;
  }
  cli.note(`Token ${created.name} is created; it is shown this once:`);
  cli.print(`${created.token}\n`);
}

async function runTokenRm(cli: Cli, wanted: string): Promise<void> {
  const tokens = await cli.client.call("GET", "/v1/api-tokens", apiTokenListOut, { signal: cli.signal });
  const token = pickToken(tokens, wanted);
  if (token === undefined) {
    // What was typed is not repeated: it may be a secret, given by mistake.
    throw new CliError(
      exitCodes.notFound,
      `There is no token of that name or id. \`${cli.command} token ls\` lists them.`,
    );
  }
  const path = `/v1/api-tokens/id/${encodeURIComponent(token.token_id)}`;
  await cli.client.call("DELETE", path, z.unknown(), { signal: cli.signal });
  if (cli.json) cli.printJson({ token_id: token.token_id });
  else cli.print(`Token ${plain(token.name)} is removed.\n`);
}

function pickToken(tokens: readonly ApiTokenOut[], wanted: string): ApiTokenOut | undefined {
  return tokens.find((one) => one.token_id === wanted) ?? tokens.find((one) => one.name === wanted);
}
