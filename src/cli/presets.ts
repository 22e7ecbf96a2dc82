/** `berth presets`: configurations that are recommended for a model, for `berth deploy --preset`. */
import type { Command } from "commander";
import { presetsOut } from "../schema/deploy.ts";
import type { Act, Cli } from "./context.ts";
import { describeArgs } from "./history.ts";
import { plain, renderTable } from "./terminal.ts";

type PresetsOptions = { readonly gpu?: string };

const examples = `
Examples:
  berth presets Qwen/Qwen3-8B
  berth presets Qwen/Qwen3-8B --gpu H100-80GB`;

export function addPresets(program: Command, act: Act): void {
  program
    .command("presets")
    .summary("configurations that are recommended for a model")
    .description("Lists the configurations that the catalogue recommends for a model.")
    .argument("<repo>", "repository, or a name of the catalogue")
    .option("--gpu <type>", "only those of this GPU type")
    .addHelpText("after", examples)
    .action(act(runPresets));
}

async function runPresets(cli: Cli, repo: string, options: PresetsOptions): Promise<void> {
  const query = new URLSearchParams({ hf_repo_id: repo });
  if (options.gpu !== undefined) query.set("gpu", options.gpu);
  const found = await cli.client.call("GET", `/deploy/llm/presets?${query}`, presetsOut, {
    signal: cli.signal,
  });
  if (cli.json) return cli.printJson(found);
  if (found.length === 0) return cli.note(`The catalogue recommends nothing for ${plain(repo)}.`);
  const rows = found.map((preset) => [
    { text: preset.id },
    { text: preset.gpu_configs.join(", ") },
    { text: preset.engine },
    { text: describeArgs(preset.standard_args, preset.extra_args) },
  ]);
  cli.print(renderTable(["PRESET", "GPUS", "ENGINE", "ARGUMENTS"], rows, cli.palette));
}
