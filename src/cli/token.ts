/** `berth token`: the API tokens of one's own account. A new secret goes to standard output alone, so it can be kept. */
import type { Command } from "commander";
import { z } from "zod";
import { type ApiTokenOut, apiTokenListOut, apiTokenOut, tokenLimitsOut } from "../schema/account.ts";
import { scopedJwtOut } from "../schema/scoped-jwt.ts";
import { formatAge } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { collect, decimalNumber, duration, wholeNumber } from "./options.ts";
import { plain, renderTable } from "./terminal.ts";

const examples = `
Examples:
  berth token create laptop                          prints the token, this once
  BERTH_API_TOKEN=$(berth token create ci) ./run-ci
  berth token create office --ip 192.0.2.0/24        usable from there alone
  berth token ips laptop 10.0.0.0/8 2001:db8::/32
  berth token jwt laptop --model ann/qwen --expires 1h --limit 5
  berth token limits ci --rpm 60 --concurrent 4
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
    .option("--ip <range>", "only from this address or CIDR range; repeatable", collect)
    .action(act(runTokenCreate));
  token
    .command("ips")
    .description("Sets the addresses a token may be used from.")
    .argument("<token>", "its name or id, not its secret")
    .argument("[ranges...]", "addresses or CIDR ranges")
    .option("--any", "from everywhere")
    .action(act(runTokenIps));
  token
    .command("limits")
    .description("Sets what a token may use of each model; without options it only shows that.")
    .argument("<token>", "its name or id, not its secret")
    .option("--concurrent <number>", "requests at once; 0: no limit", wholeNumber(0, 1_000_000_000))
    .option("--rpm <number>", "requests a minute", wholeNumber(0, 1_000_000_000))
    .option("--tpm <number>", "prompt and generated tokens a minute", wholeNumber(0, 1_000_000_000))
    .action(act(runTokenLimits));
  token
    .command("jwt")
    .description("Mints a scoped JWT, a part of a token's rights to hand on, and prints it.")
    .argument("<token>", "name of the token")
    .option("--model <name>", "only this model; repeatable", collect)
    .option("--expires <time>", "how long it lives: 30s, 10m, 2h or 3d; default: a year", duration)
    .option("--limit <usd>", "spending limit in US dollars", decimalNumber(0.000001, 1_000_000))
    .action(act(runTokenJwt));
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

type CreateOptions = { readonly ip?: readonly string[] };

async function runTokenCreate(cli: Cli, name: string, { ip }: CreateOptions): Promise<void> {
  const body = { name, ...(ip === undefined ? {} : { allowed_ips: ip }) };
  const options = { body, signal: cli.signal };
  const created = await cli.client.call("POST", "/v1/api-tokens", apiTokenOut, options);
  if (cli.json) {
    cli.printJson(created);
    return;
  }
  cli.note(`Token ${created.name} is created; it is shown this once:`);
  cli.print(`${created.token}\n`);
}

async function runTokenIps(
  cli: Cli,
  wanted: string,
  ranges: readonly string[],
  { any = false }: { readonly any?: boolean },
): Promise<void> {
  if (any === ranges.length > 0) {
    throw new CliError(exitCodes.usage, "Name addresses or CIDR ranges, or --any for everywhere.");
  }
  const token = await findToken(cli, wanted);
  const path = `/v1/api-tokens/id/${encodeURIComponent(token.token_id)}`;
  const body = { allowed_ips: any ? null : ranges };
  const changed = await cli.client.call("PUT", path, apiTokenOut, { body, signal: cli.signal });
  if (cli.json) cli.printJson(changed);
  else
    cli.print(`Token ${plain(changed.name)} may be used from ${any ? "everywhere" : ranges.join(", ")}.\n`);
}

type LimitOptions = { readonly concurrent?: number; readonly rpm?: number; readonly tpm?: number };

async function runTokenLimits(cli: Cli, wanted: string, options: LimitOptions): Promise<void> {
  const token = await findToken(cli, wanted);
  const path = `/v1/berth/tokens/${encodeURIComponent(token.token_id)}/limits`;
  let limits = await cli.client.call("GET", path, tokenLimitsOut, { signal: cli.signal });
  const { concurrent, rpm, tpm } = options;
  if (concurrent !== undefined || rpm !== undefined || tpm !== undefined) {
    const body = {
      rate_limit: concurrent ?? limits.rate_limit,
      requests_per_minute: rpm ?? limits.requests_per_minute,
      tpm_rate_limit: tpm ?? limits.tpm_rate_limit,
    };
    limits = await cli.client.call("PUT", path, tokenLimitsOut, { body, signal: cli.signal });
  }
  if (cli.json) return cli.printJson(limits);
  const show = (limit: number | null, what: string) =>
    `${limit === null || limit === 0 ? "any" : limit} ${what}`;
  const { rate_limit, requests_per_minute, tpm_rate_limit } = limits;
  const parts = [
    show(rate_limit, "requests at once"),
    show(requests_per_minute, "requests a minute"),
    show(tpm_rate_limit, "tokens a minute"),
  ];
  cli.print(
    `Token ${plain(token.name)} may have ${parts.join(", ")} at each model, within its account's limits.\n`,
  );
}

type JwtOptions = {
  readonly model?: readonly string[];
  readonly expires?: number;
  readonly limit?: number;
};

async function runTokenJwt(cli: Cli, name: string, options: JwtOptions): Promise<void> {
  const { model, expires, limit } = options;
  const body = {
    api_key_name: name,
    ...(model === undefined ? {} : { models: model }),
    ...(expires === undefined ? {} : { expires_delta: expires }),
    ...(limit === undefined ? {} : { spending_limit: limit }),
  };
  const minted = await cli.client.call("POST", "/v1/scoped-jwt", scopedJwtOut, { body, signal: cli.signal });
  if (cli.json) cli.printJson(minted);
  else cli.print(`${minted.token}\n`);
}

async function runTokenRm(cli: Cli, wanted: string): Promise<void> {
  const token = await findToken(cli, wanted);
  const path = `/v1/api-tokens/id/${encodeURIComponent(token.token_id)}`;
  await cli.client.call("DELETE", path, z.unknown(), { signal: cli.signal });
  if (cli.json) cli.printJson({ token_id: token.token_id });
  else cli.print(`Token ${plain(token.name)} is removed.\n`);
}

async function findToken(cli: Cli, wanted: string): Promise<ApiTokenOut> {
  const tokens = await cli.client.call("GET", "/v1/api-tokens", apiTokenListOut, { signal: cli.signal });
  const token = pickToken(tokens, wanted);
  if (token !== undefined) return token;
  // What was typed is not repeated: it may be a secret, given by mistake.
  throw new CliError(
    exitCodes.notFound,
    `There is no token of that name or id. \`${cli.command} token ls\` lists them.`,
  );
}

function pickToken(tokens: readonly ApiTokenOut[], wanted: string): ApiTokenOut | undefined {
  return tokens.find((one) => one.token_id === wanted) ?? tokens.find((one) => one.name === wanted);
}
