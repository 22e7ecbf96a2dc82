/** `berth fit`: whether a model fits, and on what, before anything is fetched. */
import type { Command } from "commander";
import { type ConfigurationOut, type FitOut, fitOut } from "../schema/fit.ts";
import type { Act, Cli } from "./context.ts";
import { type Cell, plain, renderFacts, renderTable } from "./terminal.ts";

type FitOptions = {
  readonly revision?: string;
  readonly gpu?: string;
  readonly numGpus?: string;
  readonly maxBatchSize?: string;
  readonly context?: string;
  readonly kvCacheDtype?: string;
};

const examples = `
Examples:
  berth fit Qwen/Qwen3-32B                                what holds it
  berth fit Qwen/Qwen3-32B --gpu H100-80GB --num-gpus 2   whether this does, and where memory goes
  berth fit Qwen/Qwen3-0.6B-GGUF:Q8_0 --gpu other         on the CPU, where no other GPU is`;

export function addFit(program: Command, act: Act): void {
  program
    .command("fit")
    .summary("whether a model fits, and on what, before it is fetched")
    .description(
      "Says from a repository's headers what memory a model needs, and the smallest GPUs that hold it.",
    )
    .argument("<repo>", "owner/name, owner/name:QUANTIZATION, or file:///path on Berth's machine")
    .option("--revision <revision>", "branch, tag or commit")
    .option("--gpu <type>", "GPU type; other is the CPU where no other GPU is")
    .option("--num-gpus <number>", "GPUs an instance takes")
    .option("--max-batch-size <number>", "requests served at once")
    .option("--context <tokens>", "tokens one request may take")
    .option("--kv-cache-dtype <type>", "how the context is kept: auto or fp8")
    .addHelpText("after", examples)
    .action(act(runFit));
}

async function runFit(cli: Cli, repo: string, options: FitOptions): Promise<void> {
  const query = new URLSearchParams({ source: repo });
  const given = {
    revision: options.revision,
    gpu: options.gpu,
    num_gpus: options.numGpus,
    max_batch_size: options.maxBatchSize,
    context: options.context,
    kv_cache_dtype: options.kvCacheDtype,
  };
  for (const [name, value] of Object.entries(given)) if (value !== undefined) query.set(name, value);
  const found = await cli.client.call("GET", `/v1/berth/fit?${query}`, fitOut, { signal: cli.signal });
  if (cli.json) return cli.printJson(found);
  cli.print(renderModel(cli, found));
  if (found.asked !== null) cli.print(`\n${renderAsked(cli, found.asked)}`);
  else if (options.gpu !== undefined)
    cli.print(`\nToo little is known to say whether it fits on ${plain(options.gpu)}.\n`);
  cli.print(`\n${renderConfigurations(cli, found.configurations)}`);
}

function renderModel(cli: Cli, { source, commit, engine, model }: FitOut): string {
  const parameters = model.parameters === null ? "unknown" : describeCount(model.parameters);
  const stored = model.quantization === null ? "" : `, ${model.quantization}`;
  const facts: (readonly [string, string])[] = [
    ["model", `${model.architecture ?? "unknown architecture"}, ${parameters} parameters${stored}`],
    ["weights", gibibytes(model.weight_bytes)],
    ["context", model.context === null ? "unknown" : `${model.context} tokens`],
    ["engine", engine ?? "none that is installed here loads it"],
    ["commit", commit],
  ];
  return `${cli.palette.bold(plain(source))}\n${renderFacts(facts, cli.palette)}`;
}

/** A bill: each line of memory, their sum, and what there is. */
function renderAsked(cli: Cli, asked: ConfigurationOut): string {
  const { palette } = cli;
  const rows = asked.lines.map(({ bytes, text }): Cell[] => [{ text: right(gibibytes(bytes)) }, { text }]);
  const isTooMuch = asked.needed_bytes > asked.memory_bytes;
  rows.push(
    [
      { text: right(gibibytes(asked.needed_bytes)), paint: isTooMuch ? palette.yellow : palette.bold },
      { text: "together", paint: palette.bold },
    ],
    [
      { text: right(gibibytes(asked.memory_bytes)) },
      { text: `that ${asked.num_gpus === 0 ? "the machine" : "each GPU"} has`, paint: palette.dim },
    ],
  );
  const paint = { fits: palette.green, shorter: palette.yellow, does_not_fit: palette.red }[asked.verdict];
  return `${paint(plain(asked.text.replace(/: [\d.]+ GiB weights.*$/, ".")))}\n${renderTable([right("MEMORY"), "FOR"], rows, palette)}`;
}

function renderConfigurations(cli: Cli, found: readonly ConfigurationOut[]): string {
  if (found.length === 0) return "No configuration of up to 8 GPUs holds it.\n";
  const rows = found.map((one): Cell[] => [
    { text: nameOf(one), paint: one.here ? cli.palette.bold : cli.palette.dim },
    { text: one.here ? "yes" : "no", paint: one.here ? cli.palette.green : cli.palette.dim },
    { text: String(one.context_for_one) },
    { text: `${one.max_batch_size} x ${one.context_for_all}` },
    { text: one.usd_per_hour === 0 ? "" : `$${one.usd_per_hour.toFixed(2)}/h` },
  ]);
  const head = ["SMALLEST THAT HOLDS IT", "HERE", "LONGEST REQUEST", "AT ONCE", "PRICE"];
  return renderTable(head, rows, cli.palette);
}

function nameOf({ gpu, num_gpus: count }: ConfigurationOut): string {
  return count === 0 ? "the CPU" : `${count} x ${gpu}`;
}

function right(text: string): string {
  return text.padStart(10);
}

/** Binary units, as engines count memory. */
function gibibytes(bytes: number): string {
  if (bytes < 2 ** 30) return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

function describeCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} billion`;
  return `${(count / 1e6).toFixed(0)} million`;
}
