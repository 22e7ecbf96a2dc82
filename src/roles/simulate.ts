/**
 * `berth simulate`: reads a trace and what is asked for, lets the replay happen for each policy, and prints what came of it.
 * Files are read and written here; the replay itself has none.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { SimulateTask } from "../cli/context.ts";
import { paletteFor, renderTable } from "../cli/terminal.ts";
import { defaultFrontLimits } from "../replay/front.ts";
import { type NamedOutcome, renderPage } from "../replay/page.ts";
import { renderPlot } from "../replay/plot.ts";
import { findPolicy, settingsOf } from "../replay/policies.ts";
import type { PolicyKind } from "../replay/policy.ts";
import { type Outcome, Replay } from "../replay/replay.ts";
import { readService } from "../replay/service-file.ts";
import { measuredTables, type ServiceTable } from "../replay/service-table.ts";
import { ServiceTime } from "../replay/service-time.ts";
import { TraceError } from "../replay/trace.ts";
import { readTrace } from "../replay/trace-file.ts";
import { describeHours, describePart, describeTime } from "../replay/words.ts";
import { SettingsError } from "../settings.ts";

type Chosen = { readonly kind: PolicyKind; readonly settings: Readonly<Record<string, number>> };

/** @returns the exit code */
export async function simulate(task: SimulateTask): Promise<number> {
  if (task.min > task.max)
    throw new SettingsError(
      `--min ${task.min} is more than --max ${task.max}. Give a --max of at least ${task.min}.`,
    );
  const chosen = task.policy.map((name) => choose(name, task.settings));
  const { table, numGpus } = tableOf(task);
  const outcomes: NamedOutcome[] = [];
  for (const { kind, settings } of chosen) {
    const outcome = await replay(task, kind, settings, table, numGpus).catch((error: unknown) => {
      throw error instanceof TraceError ? new SettingsError(error.message) : error;
    });
    outcomes.push({ name: kind.name, outcome });
  }
  const about = describe(task, table, numGpus, outcomes[0]?.outcome);
  if (task.html !== undefined) writePage(task.html, renderPage(about, outcomes));
  if (task.json) {
    const scores = outcomes.map(({ name, outcome: { score, lastedMs } }, index) => ({
      ...{ policy: name, settings: chosen[index]?.settings, lasted_ms: Math.round(lastedMs) },
      ...scoreOut(score),
    }));
    process.stdout.write(`${JSON.stringify(scores, null, 2)}\n`);
    return 0;
  }
  print(task, about, outcomes);
  return 0;
}

function choose(name: string, given: readonly string[]): Chosen {
  const kind = findPolicy(name);
  if (typeof kind === "string") throw new SettingsError(kind);
  const pairs = given.map((text) => {
    const [, setting, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
    if (setting === undefined || value === undefined)
      throw new SettingsError(
        `--set takes name=value, not "${text}". ${name} has ${Object.keys(kind.defaults).join(", ")}.`,
      );
    return [setting, value] as const;
  });
  const settings = settingsOf(kind, Object.fromEntries(pairs));
  if (typeof settings === "string") throw new SettingsError(settings);
  return { kind, settings };
}

function tableOf({ gpu, numGpus, service }: SimulateTask): { table: ServiceTable; numGpus: number } {
  if (service !== undefined) {
    const table = readService(readText(service));
    if (typeof table === "string") throw new SettingsError(`${service} cannot be used. ${table}`);
    return { table, numGpus: numGpus ?? 1 };
  }
  const table = measuredTables.find((one) => one.gpu === gpu && one.numGpus === (numGpus ?? one.numGpus));
  if (table !== undefined) return { table, numGpus: table.numGpus };
  const known = measuredTables.map((one) => `${one.numGpus} x ${one.gpu}`).join(", ");
  const asked = numGpus === undefined ? gpu : `${numGpus} x ${gpu}`;
  throw new SettingsError(
    `Nothing was measured on ${asked}; there are ${known}. Name one of those, or give your own measurements with --service.`,
  );
}

async function replay(
  task: SimulateTask,
  kind: PolicyKind,
  settings: Readonly<Record<string, number>>,
  table: ServiceTable,
  gpusAnInstance: number,
): Promise<Outcome> {
  const scaled = {
    minInstances: task.min,
    maxInstances: task.max,
    slots: task.maxBatchSize,
    loadMs: task.loadS * 1000,
  };
  const service = new ServiceTime(table);
  const options = { ...scaled, gpusAnInstance, service, limits: defaultFrontLimits };
  const run = new Replay(options, kind.create(settings, scaled));
  for await (const request of readTrace(task.trace, task.model ?? null)) {
    task.signal.throwIfAborted();
    run.arrive(request);
  }
  return run.finish();
}

function describe(
  task: SimulateTask,
  table: ServiceTable,
  numGpus: number,
  outcome: Outcome | undefined,
): string[] {
  const requests = outcome?.score.requests ?? 0;
  const gpus = numGpus === 1 ? "1 GPU" : `${numGpus} GPUs`;
  return [
    `${requests} requests in ${describeTime(outcome?.lastedMs ?? 0)}, from ${task.trace}.`,
    `${table.name}; ${task.maxBatchSize} requests and ${gpus} an instance, ${task.min} to ${task.max} instances, a load takes ${task.loadS} s.`,
  ];
}

function print(task: SimulateTask, about: readonly string[], outcomes: readonly NamedOutcome[]): void {
  const palette = paletteFor(process.stdout.isTTY === true, process.env);
  const head = [
    "POLICY",
    "GPU-HOURS",
    "SERVED WELL",
    "REFUSED",
    "WAIT p50",
    "p99",
    "FIRST TOKEN p50",
    "p90",
    "p99",
  ];
  const rows = outcomes.map(({ name, outcome: { score } }) => {
    const { waitedMs, firstTokenMs } = score;
    const times = [waitedMs.p50, waitedMs.p99, firstTokenMs.p50, firstTokenMs.p90, firstTokenMs.p99];
    const amounts = [describeHours(score.gpuHours), describePart(score.share), String(score.refused)];
    return [name, ...amounts, ...times.map(describeTime)].map((text) => ({ text }));
  });
  process.stdout.write(`${about.join("\n")}\n\n${renderTable(head, rows, palette)}`);
  for (const { name, outcome } of outcomes)
    process.stdout.write(`\n${palette.bold(name)}\n${renderPlot(outcome, task.columns)}`);
}

function scoreOut(score: Outcome["score"]) {
  return {
    requests: score.requests,
    refused: score.refused,
    served_well: score.share,
    gpu_hours: score.gpuHours,
    waited_ms: score.waitedMs,
    first_token_ms: score.firstTokenMs,
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new SettingsError(`${path} cannot be read (${codeOf(error)}).`);
  }
}

function writePage(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new SettingsError(`${path} cannot be written (${codeOf(error)}). Name another file with --html.`);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
