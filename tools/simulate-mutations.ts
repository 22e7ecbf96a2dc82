/**
 * `npm run simulate:mutations`: puts one defect at a time into a copy of `core/` in a temporary folder and lets the simulator
 * look for it there. Shows that each is found within 1,000 seeds; the exit status is 1 when one is not. Never touches the tree.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const mutations = [
  {
    name: "an off-by-one in the maximum",
    file: "scale.ts",
    from: "Math.min(maxInstances, Math.max(minInstances, count))",
    to: "Math.min(maxInstances + 1, Math.max(minInstances, count))",
  },
  {
    name: "a lost adoption",
    file: "plan.ts",
    from: 'record.intent === "run" &&\n',
    to: 'record.intent === "run" &&\n      record.createdAtMs >= world.watchingSinceMs &&\n',
  },
  {
    name: "a missing drain",
    file: "plan.ts",
    from: '({ do: "drain", instanceId: id, reason, inputs })',
    to: '({ do: "remove", instanceId: id, reason })',
  },
  {
    name: "a stale status",
    file: "status.ts",
    from: 'if (running > 0) return "running";',
    to: 'if (running > 0 || deployment.hasRun) return "running";',
  },
  {
    name: "a swapped comparison in the back-off",
    file: "plan.ts",
    from: "if (retryAtMs > now) return",
    to: "if (retryAtMs < now) return",
  },
  {
    name: "a GPU that is not held before the driver has shown it",
    file: "holdings.ts",
    from: "new Set([...this.#held.values()].flatMap",
    to: "new Set([...this.#held.values()].filter((one) => one.isSeen).flatMap",
  },
  {
    name: "liars that are replaced all at once",
    file: "plan.ts",
    from: "(actions.length > 0 || isReplacing(world))",
    to: "isReplacing({ ...world, instances: [] })",
  },
  {
    name: "a liar that nobody asks",
    file: "plan.ts",
    from: "suspects: world.load.suspects ?? []",
    to: "suspects: []",
  },
  {
    name: "an instance that is given up in vain",
    file: "scale-world.ts",
    from: "world.claims ?? [], soonFree(world))",
    to: "world.claims ?? [])",
  },
  {
    name: "an update that is never taken back",
    file: "rollout.ts",
    from: "if (lost !== null) {",
    to: "if (lost !== null && input.loadTries < 0) {",
  },
] as const;

const root = join(import.meta.dirname, "..");
let missed = 0;
for (const { name, file, from, to } of mutations) {
  const home = mkdtempSync(join(tmpdir(), "berth-mutation-"));
  try {
    for (const room of ["core", "simulate"])
      cpSync(join(root, "src", room), join(home, room), { recursive: true });
    writeFileSync(join(home, "package.json"), '{ "type": "module" }');
    const path = join(home, "core", file);
    const before = readFileSync(path, "utf8");
    if (before.split(from).length !== 2) throw new Error(`${file} does not have this exactly once: ${from}`);
    writeFileSync(path, before.replace(from, to));
    const args = [join(home, "simulate/main.ts"), "--seeds", "1000", "--from", "1"];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (status !== 0 && status !== 1) throw new Error(`the simulator ended with ${status}: ${stderr}`);
    if (status === 0) missed += 1;
    process.stdout.write(`${name}: ${status === 0 ? "not found" : stdout.split("\n", 1)[0]}\n`);
  } finally {
    rmSync(home, { recursive: true });
  }
}
process.exit(missed === 0 ? 0 : 1);
