/**
 * GPUs that are not NVIDIA's, named so that people see that they were found: AMD's through `rocm-smi` or `amd-smi`, Apple's
 * through `system_profiler`. No engine uses them through Berth yet, so they are never offered. Asked once; nothing where there
 * is no tool.
 */
import { execFile } from "node:child_process";
import { totalmem } from "node:os";
import { z } from "zod";
import type { NodeGpu } from "../../core/instance.ts";

const queryTimeoutMs = 10_000;

export async function findOtherGpus(
  environment: NodeJS.ProcessEnv,
  platform: NodeJS.Platform,
): Promise<NodeGpu[]> {
  if (platform === "darwin") {
    const shown = await ask("/usr/sbin/system_profiler", ["SPDisplaysDataType", "-json"], environment);
    return shown === null ? [] : readAppleGpus(shown, totalmem());
  }
  const older = ["--showproductname", "--showmeminfo", "vram", "--showuniqueid", "--json"];
  const rocm = await ask("rocm-smi", older, environment);
  if (rocm !== null) return readRocmSmi(rocm);
  const amd = await ask("amd-smi", ["static", "--asic", "--vram", "--json"], environment);
  return amd === null ? [] : readAmdSmi(amd);
}

function ask(
  program: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<string | null> {
  const env = { PATH: environment.PATH ?? "/usr/bin:/bin", LC_ALL: "C" };
  const limits = { timeout: queryTimeoutMs, killSignal: "SIGKILL", maxBuffer: 4 * 2 ** 20 } as const;
  return new Promise((resolve) => {
    // What cannot be asked is not there: these cards are named for information alone.
    execFile(program, args, { ...limits, env }, (error, output) => resolve(error === null ? output : null));
  });
}

const unused = (id: string, name: string, memoryBytes: number, maker: string): NodeGpu => ({
  ...{ id, type: "other", name, memoryBytes, usable: false },
  reason: `no engine installed here can use a GPU of ${maker} through Berth`,
});

const text = z.string().optional();
/** One entry a card; heads of columns changed their capitals between ROCm 5 and 6. */
const rocmCard = z.object({
  "Card series": text,
  "Card Series": text,
  "Device Name": text,
  "Unique ID": text,
  "VRAM Total Memory (B)": text,
});

export function readRocmSmi(output: string): NodeGpu[] {
  const cards = z.record(z.string(), z.unknown()).safeParse(parseJson(output)).data ?? {};
  return Object.entries(cards).flatMap(([key, value]) => {
    const card = rocmCard.safeParse(value).data;
    if (!/^card\d+$/.test(key) || card === undefined) return [];
    const name = card["Card Series"] ?? card["Card series"] ?? card["Device Name"] ?? "AMD GPU";
    const id = card["Unique ID"];
    const memoryBytes = Number(card["VRAM Total Memory (B)"]) || 0;
    return [unused(id === undefined || id === "N/A" ? key : `AMD-${id}`, name, memoryBytes, "AMD")];
  });
}

const amdCard = z.object({
  gpu: z.number(),
  asic: z.object({ market_name: text }).optional(),
  vram: z.object({ size: z.object({ value: z.number(), unit: z.string() }).optional() }).optional(),
});

/** A list of cards, which newer versions put into `gpu_data`. */
export function readAmdSmi(output: string): NodeGpu[] {
  const parsed = parseJson(output);
  const list = z.object({ gpu_data: z.array(z.unknown()) }).safeParse(parsed).data?.gpu_data ?? parsed;
  const cards = z.array(amdCard).safeParse(list).data ?? [];
  return cards.map(({ gpu, asic, vram }) => {
    const memoryBytes = vram?.size?.unit === "MB" ? vram.size.value * 2 ** 20 : 0;
    return unused(`AMD-${gpu}`, asic?.market_name ?? "AMD GPU", memoryBytes, "AMD");
  });
}

const appleDisplays = z.object({
  SPDisplaysDataType: z.array(z.object({ _name: z.string(), sppci_model: text })),
});

/** Apple's GPUs share the machine's memory. */
export function readAppleGpus(output: string, memoryBytes: number): NodeGpu[] {
  const found = appleDisplays.safeParse(parseJson(output)).data?.SPDisplaysDataType ?? [];
  return found
    .map(({ _name, sppci_model }) => sppci_model ?? _name)
    .flatMap((name, index) =>
      /Apple/.test(name) ? [unused(`apple-${index}`, name, memoryBytes, "Apple")] : [],
    );
}

/** Undefined for what is no JSON; some versions print warnings before it. */
function parseJson(output: string): unknown {
  try {
    return JSON.parse(output.slice(Math.max(0, output.search(/^[[{]/m))));
  } catch {
    return undefined;
  }
}
