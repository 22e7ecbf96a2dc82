/** `berth audit`: who changed what through the API. For administrators. */
import type { Command } from "commander";
import { auditOut } from "../schema/audit.ts";
import type { Act, Cli } from "./context.ts";
import { wholeNumber } from "./options.ts";
import { plain, renderTable } from "./terminal.ts";

type AuditOptions = {
  readonly account?: string;
  readonly target?: string;
  readonly limit?: number;
};

const examples = `
Examples:
  berth audit
  berth audit --account alice
  berth audit --target KidPPejFzJw0ESWa --json`;

export function addAudit(program: Command, act: Act): void {
  program
    .command("audit")
    .summary("list who changed what (administrators)")
    .description("Lists changes made through the API, newest first.")
    .option("--account <name>", "only those of this account")
    .option("--target <id>", "only those of this deployment, token or account")
    .option("--limit <count>", "how many; default: 100", wholeNumber(1, 1000))
    .addHelpText("after", examples)
    .action(act(runAudit));
}

async function runAudit(cli: Cli, { account, target, limit }: AuditOptions): Promise<void> {
  const query = new URLSearchParams();
  if (account !== undefined) query.set("account", account);
  if (target !== undefined) query.set("target", target);
  if (limit !== undefined) query.set("limit", String(limit));
  const path = query.size === 0 ? "/v1/berth/audit" : `/v1/berth/audit?${query}`;
  const found = await cli.client.call("GET", path, auditOut, { signal: cli.signal });
  if (cli.json) {
    cli.printJson(found);
    return;
  }
  const rows = found.entries.map((entry) => {
    const names = Object.entries(entry.target).map(([name, value]) => `${name}=${value}`);
    const texts = [entry.at, entry.account, entry.address, entry.action, plain(names.join(" "))];
    return texts.map((text) => ({ text }));
  });
  cli.print(renderTable(["AT", "ACCOUNT", "FROM", "WHAT", "TARGET"], rows, cli.palette));
}
