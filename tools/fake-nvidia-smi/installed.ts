/** Puts the fake tool into a folder as an executable, with a machine that a test can change under whoever asks it. */
import { chmodSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FakeGpu, FakeMachine } from "./machine.ts";

export type InstalledTool = {
  /** Path of the executable. */
  readonly program: string;
  readonly machine: FakeMachine;
  /** The machine from now on. */
  become(machine: FakeMachine): void;
  /** Changes one GPU. */
  change(index: number, change: Partial<FakeGpu>): void;
};

export function installFakeTool(folder: string, machine: FakeMachine): InstalledTool {
  const file = join(folder, "machine.json");
  const program = join(folder, "nvidia-smi");
  const script = new URL("./nvidia-smi.ts", import.meta.url).pathname;
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${script}" "${file}" "$@"\n`);
  chmodSync(program, 0o755);
  let current = machine;
  const become = (next: FakeMachine) => {
    current = next;
    writeFileSync(`${file}.next`, JSON.stringify(next));
    renameSync(`${file}.next`, file);
  };
  become(machine);
  return {
    program,
    get machine() {
      return current;
    },
    become,
    change(index, change) {
      become({
        ...current,
        gpus: current.gpus.map((gpu, at) => (at === index ? { ...gpu, ...change } : gpu)),
      });
    },
  };
}
