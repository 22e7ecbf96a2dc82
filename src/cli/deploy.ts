/**
 * `berth deploy`: asks for a deployment and follows it until it answers. Owns how options become the body of
 * POST /deploy/llm; what is allowed in it is the server's to say.
 */
import { type Command, Option } from "commander";
import { type DeployLlmBody, type DeploymentOut, deploymentOut, gpuNames } from "../schema/deploy.ts";
import type { ScheduleIn } from "../schema/schedule.ts";
import { askPerson } from "./ask.ts";
import type { Act, Cli } from "./context.ts";
import { findHfToken, maxSecretBytes, readSecret, readText } from "./credentials.ts";
import { CliError, exitCodes } from "./exit.ts";
import { followDeployment } from "./follow.ts";
import { collectKnob, type Knobs } from "./knobs.ts";
import { collect, wholeNumber } from "./options.ts";
import { collectRule, scheduleAsked, scheduleHelp, timeZoneHelp } from "./schedule.ts";
import { plain, shellWord } from "./terminal.ts";

type DeployOptions = {
  readonly name?: string;
  readonly gpu: (typeof gpuNames)[number];
  readonly numGpus?: number;
  readonly maxBatchSize?: number;
  readonly min?: number;
  readonly max?: number;
  readonly inactiveShutdown?: number;
  readonly schedule?: ScheduleIn["rules"];
  readonly timeZone?: string;
  readonly revision?: string;
  readonly baseModel?: string;
  readonly arg?: readonly string[];
  readonly set?: Knobs;
  readonly preset?: string;
  readonly wait: boolean;
  /** False with --no-hf-token. */
  readonly hfToken: boolean;
  readonly hfTokenStdin?: boolean;
};

/** Knobs go on as they were given; the API judges them. */
type DeployBody = Omit<DeployLlmBody, "standard_args"> & { standard_args?: Knobs };

const examples = `
Examples:
  berth deploy Qwen/Qwen3-0.6B-GGUF                     deploys it under the name Qwen3-0.6B-GGUF
  berth deploy unsloth/gemma-3-1b-it-GGUF:Q4_K_M        chooses one quantization
  berth deploy --base-model berth/starter --name tiny   a model that Berth knows by name
  berth deploy me/private --gpu H100-80GB --num-gpus 2 --min 0 --max 4 --inactive-shutdown 900
  berth deploy me/model --arg=--max-model-len=8192      an argument for the engine
  berth deploy me/model --min 0 --schedule 'mon-fri 08:00-20:00 1' --time-zone Europe/Berlin

The Hugging Face token comes from HF_TOKEN, from the file that \`hf auth login\` leaves, or from standard input with
--hf-token-stdin; --no-hf-token sends none. Ctrl-C stops following, not the deployment.`;

export function addDeploy(program: Command, act: Act): void {
  program
    .command("deploy")
    .summary("deploy a Hugging Face model and follow it until it runs")
    .description("Deploys a Hugging Face model and follows it until it runs.")
    .argument("[repo]", "repository, owner/name or owner/name:QUANTIZATION")
    .option("--name <name>", "name of the model; default: the repository's")
    .addOption(
      new Option("--gpu <type>", "GPU type; other: a GPU of no listed type, else the CPU")
        .choices(gpuNames)
        .default("other"),
    )
    .option("--num-gpus <n>", "GPUs one instance takes", wholeNumber(1, 8))
    .option("--max-batch-size <n>", "requests one instance serves at once", wholeNumber(1, 256))
    .option("--min <n>", "fewest instances; 0 goes to zero when idle", wholeNumber(0, 10_000))
    .option("--max <n>", "most instances", wholeNumber(0, 10_000))
    .option("--inactive-shutdown <s>", "idle seconds before going to zero", wholeNumber(0, 31_536_000))
    .option("--schedule <rule>", scheduleHelp, collectRule)
    .option("--time-zone <name>", timeZoneHelp)
    .option("--revision <rev>", "branch, tag or commit")
    .option("--base-model <model>", "a model that Berth knows by name, instead of a repository")
    .option("--arg <argument>", "extra engine argument, repeatable, as --arg=--name=value", collect)
    .option("--set <knob>", "a typed engine knob as name=value, repeatable", collectKnob)
    .option("--preset <id>", "arguments of one of `berth presets`")
    .option("--no-wait", "return as soon as the deployment is accepted")
    .option("--no-hf-token", "send no Hugging Face token")
    .option("--hf-token-stdin", "read the Hugging Face token from standard input")
    .addHelpText("after", examples)
    .action(act(runDeploy));
}

async function runDeploy(cli: Cli, repo: string | undefined, options: DeployOptions): Promise<void> {
  if ((repo === undefined) === (options.baseModel === undefined)) {
    throw new CliError(
      exitCodes.usage,
      "Name one model: a repository (owner/name) or --base-model. See `berth deploy --help`.",
    );
  }
  if (options.revision !== undefined && repo === undefined) {
    throw new CliError(
      exitCodes.usage,
      "--revision belongs to a repository; --base-model has none to choose.",
    );
  }
  const hfToken = repo === undefined ? null : await chooseHfToken(cli, options);
  const accepted = await cli.client.call("POST", "/deploy/llm", deploymentOut, {
    body: buildBody(repo, options, hfToken),
    signal: cli.signal,
  });
  cli.note(`${accepted.model_name} is accepted (id ${accepted.deploy_id}).`);
  if (!options.wait) {
    if (cli.json) cli.printJson(accepted);
    else cli.print(`${cli.command} status ${plain(accepted.model_name)}\n`);
    return;
  }
  const running = await followDeployment(cli, accepted);
  if (cli.json) cli.printJson(running);
  else cli.print(await describeUse(cli, running));
}

/** The body of POST /deploy/llm; fields that were not given are left to the server's defaults. */
export function buildBody(
  repo: string | undefined,
  options: Omit<DeployOptions, "wait" | "hfToken" | "hfTokenStdin">,
  hfToken: string | null,
): DeployBody {
  const source = repo ?? options.baseModel ?? "";
  const schedule = scheduleAsked(options) ?? undefined;
  const scales = options.min ?? options.max ?? options.inactiveShutdown ?? schedule;
  return {
    model_name: options.name ?? nameAfter(source),
    gpu: options.gpu,
    ...(options.numGpus === undefined ? {} : { num_gpus: options.numGpus }),
    ...(options.maxBatchSize === undefined ? {} : { max_batch_size: options.maxBatchSize }),
    ...(repo === undefined
      ? { base_model: options.baseModel ?? null }
      : { hf: { repo, revision: options.revision ?? null, token: hfToken } }),
    ...(scales === undefined ? {} : { settings: buildSettings(options, schedule) }),
    ...(options.arg === undefined ? {} : { extra_args: [...options.arg] }),
    ...(options.set === undefined ? {} : { standard_args: options.set }),
    ...(options.preset === undefined ? {} : { preset_id: options.preset }),
  };
}

/** Who names one bound gets the other one to fit it, rather than an error about a default. */
function buildSettings(
  options: Pick<DeployOptions, "min" | "max" | "inactiveShutdown">,
  schedule: ScheduleIn | undefined,
): NonNullable<DeployBody["settings"]> {
  const min = options.min ?? Math.min(1, options.max ?? 1);
  const scheduled = schedule?.rules.map((rule) => rule.min_instances) ?? [];
  return {
    min_instances: min,
    max_instances: options.max ?? Math.max(1, min, ...scheduled),
    ...(schedule === undefined ? {} : { schedule }),
    ...(options.inactiveShutdown === undefined ? {} : { inactive_shutdown: options.inactiveShutdown }),
  };
}

/** "owner/Name-GGUF:Q4_K_M" -> "Name-GGUF", "file:///models/qwen/" -> "qwen". */
function nameAfter(source: string): string {
  return (source.replace(/\/$/, "").split("/").at(-1) ?? "").replace(/:.*$/, "");
}

async function chooseHfToken(cli: Cli, options: DeployOptions): Promise<string | null> {
  if (options.hfTokenStdin === true) return readHfToken(cli);
  if (!options.hfToken) return null;
  const found = await findHfToken(cli.deps.env);
  if (found === null) return null;
  const { protocol, origin } = new URL(cli.client.url);
  if (protocol === "http:" && !cli.isHere) {
    // A token nobody named on this command line must not cross a network in the clear.
    cli.note(`The Hugging Face token from ${found.from} is not sent: ${origin} is not encrypted.`);
    return null;
  }
  cli.note(`Using the Hugging Face token from ${found.from}.`);
  return found.secret;
}

async function readHfToken(cli: Cli): Promise<string> {
  const { stdin } = cli.deps;
  if (stdin.isTTY !== true) return readSecret(await readText(stdin, maxSecretBytes, cli.signal));
  return readSecret((await askPerson(cli, "Hugging Face token (not shown): ", true)) ?? "");
}

/** What to do with a model that runs: two lines to copy. */
async function describeUse(cli: Cli, deployment: DeploymentOut): Promise<string> {
  const name = plain(deployment.model_name);
  const isEmbedder = deployment.task === "embeddings";
  const path = isEmbedder ? "embeddings" : "chat/completions";
  const input = isEmbedder ? { input: "Hello" } : { messages: [{ role: "user", content: "Hello" }] };
  const token = await cli.client.token();
  const lines = [
    `curl ${shellWord(`${cli.client.url}/v1/openai/${path}`)} \\`,
    ...(token === null ? [] : [`  -H "Authorization: Bearer ${token.shell}" \\`]),
    `  -H "Content-Type: application/json" \\`,
    `  -d ${shellWord(JSON.stringify({ model: name, ...input }))}`,
  ];
  const chat = isEmbedder ? "" : `${cli.command} chat ${shellWord(name)} "Hello"\n\n`;
  return `\n${chat}${lines.join("\n")}\n`;
}
