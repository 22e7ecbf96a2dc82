/** `berth hub`: the weights in Berth's cache, for administrators: what is there, fetching ahead, verifying, removing. */
import type { Command } from "commander";
import {
  type CachedRepoOut,
  cachedRepoListOut,
  collectOut,
  type HubJobOut,
  hubJobOut,
  removeOut,
} from "../schema/weights.ts";
import { formatAge, formatBytes } from "./amounts.ts";
import type { Act, Cli } from "./context.ts";
import { CliError, exitCodes, Interrupted } from "./exit.ts";
import { plain, renderTable } from "./terminal.ts";

const examples = `
Examples:
  berth hub ls
  berth hub pull Qwen/Qwen3-0.6B-GGUF:Q8_0      fetch ahead of a deployment
  berth hub verify                              read every file and compare it with its hash
  berth hub verify Qwen/Qwen3-0.6B-GGUF --repair
  berth hub rm Qwen/Qwen3-0.6B-GGUF
  berth hub gc                                  remove what no deployment needs
  eval "$(berth hub env)"                       huggingface_hub, vLLM and llama.cpp fetch through Berth`;

/** Between two questions how far a job is, milliseconds. */
const askEveryMs = 500;
/** How often a line is printed where no terminal is. */
const lineEveryMs = 15_000;

export function addHub(program: Command, act: Act): void {
  const hub = program
    .command("hub")
    .helpCommand(false)
    .summary("weights in the cache: list, pull, verify, remove")
    .description("The weights that are on Berth's machine. For administrators.")
    .addHelpText("after", examples);
  hub.command("ls").alias("list").description("Lists repositories in the cache.").action(act(runLs));
  hub
    .command("pull")
    .description("Fetches the weights of a repository; what is there already is not fetched again.")
    .argument("<repo>", "owner/name, or owner/name:QUANTIZATION")
    .option("--revision <revision>", "branch, tag or commit")
    .action(act(runPull));
  hub
    .command("verify")
    .description("Reads every file and compares it with its hash.")
    .argument("[repo]", "owner/name; without, everything")
    .option("--repair", "remove damaged files, so that they are fetched again")
    .action(act(runVerify));
  hub
    .command("rm")
    .description("Removes a repository that no deployment needs.")
    .argument("<repo>", "owner/name")
    .action(act(runRm));
  hub
    .command("env")
    .description(
      "Prints what other programs need in their environment to fetch through Berth. Shows the token.",
    )
    .action(act(runEnv));
  hub
    .command("gc")
    .description("Removes what no deployment needs, least recently used first.")
    .option("--keep <GB>", "stop when at most so many GB are left", "0")
    .action(act(runGc));
}

/** What other programs need in their environment to fetch through Berth. */
async function runEnv(cli: Cli): Promise<void> {
  const token = await cli.client.token();
  if (token === null)
    throw new CliError(exitCodes.failed, "There is no token to print. Set BERTH_API_TOKEN.");
  // In hexadecimal digits, as llama.cpp sends no token that does not look like one of Hugging Face's.
  const HF_TOKEN = `hf_${Buffer.from(token.secret).toString("hex")}`;
  const variables = { HF_ENDPOINT: `${cli.client.url}/hub`, HF_TOKEN };
  if (cli.json) return cli.printJson(variables);
  for (const [name, value] of Object.entries(variables)) cli.print(`export ${name}=${value}\n`);
}

async function runLs(cli: Cli): Promise<void> {
  const repos = await cli.client.call("GET", "/v1/berth/hub", cachedRepoListOut, { signal: cli.signal });
  if (cli.json) return cli.printJson(repos);
  if (repos.length === 0) return cli.note("The cache is empty.");
  const nowMs = cli.deps.clock.now();
  const rows = repos.map((one) => [
    { text: one.repo, paint: cli.palette.bold },
    { text: formatBytes(one.bytes) },
    { text: String(one.files) },
    { text: describeUse(one) },
    { text: formatAge(one.used_at * 1000, nowMs) },
  ]);
  cli.print(renderTable(["REPOSITORY", "SIZE", "FILES", "USE", "LAST USED"], rows, cli.palette));
}

/** Files of a shared cache that another program wrote are never removed here. */
function describeUse({ needed, bytes, own_bytes: own }: CachedRepoOut): string {
  if (needed) return "deployed";
  return own === 0 && bytes > 0 ? "not Berth's" : "free";
}

async function runPull(cli: Cli, repo: string, options: { readonly revision?: string }): Promise<void> {
  const body = { repo, ...(options.revision === undefined ? {} : { revision: options.revision }) };
  await runJob(cli, "/v1/berth/hub/pull", body);
}

async function runVerify(
  cli: Cli,
  repo: string | undefined,
  options: { readonly repair?: boolean },
): Promise<void> {
  const body = { repair: options.repair === true, ...(repo === undefined ? {} : { repo }) };
  await runJob(cli, "/v1/berth/hub/verify", body);
}

/** Starts a job and stays with it to its end; Ctrl-C ends the job too. */
async function runJob(cli: Cli, path: string, body: object): Promise<void> {
  let job = await cli.client.call("POST", path, hubJobOut, { body, signal: cli.signal });
  const address = `/v1/berth/hub/jobs/${encodeURIComponent(job.id)}`;
  let linedAtMs = cli.deps.clock.now();
  try {
    while (job.state === "running") {
      await cli.deps.clock.sleep(askEveryMs, cli.signal);
      job = await cli.client.call("GET", address, hubJobOut, { signal: cli.signal });
      if (job.state !== "running" || cli.deps.clock.now() - linedAtMs < lineEveryMs) continue;
      linedAtMs = cli.deps.clock.now();
      cli.note(describeProgress(job));
    }
  } catch (error) {
    if (error instanceof Interrupted) await cli.client.call("DELETE", address, hubJobOut);
    throw error;
  }
  if (cli.json) cli.printJson(job);
  if (job.state !== "done") throw new CliError(exitCodes.failed, cli.json ? null : job.result);
  if (!cli.json) cli.print(`${plain(job.result)}\n`);
}

function describeProgress(job: HubJobOut): string {
  const rate = job.bytes_per_s > 0 ? `, ${formatBytes(job.bytes_per_s)}/s` : "";
  return `${formatBytes(job.bytes_done)} of ${formatBytes(job.bytes_total)}${rate}`;
}

async function runRm(cli: Cli, repo: string): Promise<void> {
  const [owner = "", name = "", ...rest] = repo.split("/");
  if (owner === "" || name === "" || rest.length > 0) {
    throw new CliError(exitCodes.usage, "Name a repository as owner/name.");
  }
  const path = `/v1/berth/hub/repos/${encodeURIComponent(owner)}/${encodeURIComponent(name)}`;
  const removed = await cli.client.call("DELETE", path, removeOut, { signal: cli.signal });
  if (cli.json) return cli.printJson(removed);
  const kept =
    removed.kept_bytes > 0 ? ` ${formatBytes(removed.kept_bytes)} that another program wrote stay.` : "";
  cli.print(`${plain(repo)}: ${formatBytes(removed.removed_bytes)} removed.${kept}\n`);
}

async function runGc(cli: Cli, options: { readonly keep: string }): Promise<void> {
  const keepGb = Number(options.keep);
  if (options.keep.trim() === "" || !Number.isFinite(keepGb) || keepGb < 0) {
    throw new CliError(exitCodes.usage, "--keep takes a number of GB, for example 200.");
  }
  const body = { keep_bytes: Math.round(keepGb * 1e9) };
  const path = "/v1/berth/hub/gc";
  const done = await cli.client.call("POST", path, collectOut, { body, signal: cli.signal });
  if (cli.json) return cli.printJson(done);
  const files = done.removed_files === 1 ? "1 file" : `${done.removed_files} files`;
  cli.print(
    `${files} (${formatBytes(done.removed_bytes)}) removed; ${formatBytes(done.kept_bytes)} are left.\n`,
  );
}
