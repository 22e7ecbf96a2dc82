/**
 * Runs the steps of an installation in an engine's folder. What was installed there before stays until the new one is whole, and comes
 * back where it fails or is broken off. Shows each step and what its program says; decides nothing about engines.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Installation, Step, WrittenFile } from "./install.ts";

export type RunOptions = {
  readonly folder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** Takes a line for the person who waits. */
  show(line: string): void;
  /** Null when what is in the folder now runs, else why not and what to do. */
  check(): Promise<string | null>;
};

/** Null when it is installed, else the sentences that say why not. */
export async function runInstallation(plan: Installation, options: RunOptions): Promise<string | null> {
  const { folder } = options;
  const before = `${folder}.before`;
  // Of a run that was killed: what it had put aside is the last that is known to run.
  if (existsSync(before)) await replace(before, folder);
  if (existsSync(folder)) await rename(folder, before);
  let failed: string | null = "It was broken off.";
  try {
    await mkdir(folder, { recursive: true });
    failed = (await runSteps(plan, options)) ?? (await options.check());
  } finally {
    if (failed === null) await rm(before, { recursive: true, force: true });
    else if (existsSync(before)) await replace(before, folder);
    else await rm(folder, { recursive: true, force: true });
  }
  return failed;
}

async function replace(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await rename(from, to);
}

async function runSteps(
  { steps, after, leftovers }: Installation,
  options: RunOptions,
): Promise<string | null> {
  for (const [index, step] of steps.entries()) {
    options.show(`${index + 1}/${steps.length} ${step.text}`);
    await writeAll(step.writes ?? []);
    const code = await runStep(step, options);
    if (code === 0) continue;
    return (
      step.explain?.(code) ??
      `${step.text} failed: ${step.command} ended with ${code}; what it said is above.`
    );
  }
  await writeAll(after);
  for (const path of leftovers) await rm(path, { recursive: true, force: true });
  return null;
}

/** Resolves to the exit code; what the program says goes to standard error as it comes. */
async function runStep(
  { command, args }: Step,
  { environment, signal }: RunOptions,
): Promise<number | string> {
  const child = spawn(command, args, { stdio: ["ignore", 2, 2], env: environment, signal });
  return await new Promise((resolve) => {
    child.once("error", (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
    child.once("exit", (code, by) => resolve(code ?? by ?? "unknown"));
  });
}

async function writeAll(files: readonly WrittenFile[]): Promise<void> {
  for (const { path, content } of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}
