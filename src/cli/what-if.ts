/** `berth simulate`: what settings would have made of traffic that was. Only passes on what to replay. */
import type { Command } from "commander";
import type { Act, Cli, SimulateTask } from "./context.ts";
import { collect, duration, wholeNumber } from "./options.ts";
import { runLocally } from "./serve.ts";

type SimulateOptions = Omit<SimulateTask, "settings" | "policy" | "loadS" | "json" | "columns" | "signal"> & {
  readonly policy?: readonly string[];
  readonly set?: readonly string[];
  readonly load: number;
};

const examples = `
Examples:
  berth simulate --trace requests.csv --gpu H100-80GB --num-gpus 2 --min 1 --max 8
  berth simulate --trace requests.csv --gpu H100-80GB --min 1 --max 8 --set cover=0.9 --set window_s=1200
  berth simulate --trace requests.csv --gpu H100-80GB --min 1 --max 8 --policy berth --policy keda --html replay.html
  berth backup state.jsonl && berth simulate --trace state.jsonl --model ada/mine --service mine.json --min 0 --max 4

A trace is CSV with a time, prompt tokens and generated tokens (Azure's public traces, or time,prompt_tokens,generated_tokens),
or a backup of a Berth, whose records of usage are taken. Nothing is started: time is virtual.`;

export function addSimulate(program: Command, act: Act): void {
  program
    .command("simulate")
    .summary("replay traffic against the scaler: what it costs, who waits")
    .description("Replays a trace of requests against Berth's scaling and admission, or another's policy.")
    .requiredOption("--trace <file>", "requests that were")
    .option("--model <name>", "of a backup, the requests for this model alone")
    .option("--gpu <type>", "GPU type whose measured service times are taken", "H100-80GB")
    .option("--num-gpus <n>", "GPUs an instance takes", wholeNumber(1, 8))
    .option("--service <file>", "your own measurements in place of those: prompt_ms and token_ms by amount")
    .option("--max-batch-size <n>", "requests an instance serves at once", wholeNumber(1, 256), 32)
    .option("--min <n>", "instances there are at least", wholeNumber(0, 1000), 1)
    .option("--max <n>", "instances there are at most", wholeNumber(0, 1000), 8)
    .option("--load <time>", "how long a load takes", duration, 60)
    .option(
      "--policy <name>",
      "berth (default), kubeai, skyserve, knative or keda; repeat to compare",
      collect,
    )
    .option("--set <name=value>", "a setting of the policy; repeat for more", collect)
    .option("--html <file>", "also write a page with pictures")
    .addHelpText("after", examples)
    .action(act(runSimulate));
}

async function runSimulate(cli: Cli, options: SimulateOptions): Promise<void> {
  const { set = [], policy = ["berth"], load, ...rest } = options;
  const columns = cli.deps.stdout.columns ?? 100;
  const task = { ...rest, policy, settings: set, loadS: load, json: cli.json, columns, signal: cli.signal };
  await runLocally(() => cli.deps.simulate(task));
}
