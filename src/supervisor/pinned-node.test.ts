/** Tests of `bin/`, which runs on whatever Node the machine has; an older one is played by a preloaded script. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const bin = resolve(import.meta.dirname, "../../bin");
const program = `
  const answer: string = JSON.stringify(process.argv.slice(2));
  process.on("SIGTERM", () => process.exit(42));
  console.log(answer, process.versions.node.split(".")[0], process.ppid);
  if (process.argv[2] === "wait") setInterval(() => undefined, 1000);
  if (process.argv[2] === "fail") process.exit(7);
  if (process.argv[2] === "abort") process.kill(process.pid, "SIGKILL");
`;

let root: string;
let children: ChildProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-bin-"));
  children = [];
  mkdirSync(join(root, "bin"));
  mkdirSync(join(root, "src"));
  for (const name of ["berth.js", "node.js", "pinned-node.js", "package.json"]) {
    copyFileSync(join(bin, name), join(root, "bin", name));
  }
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  writeFileSync(join(root, "src", "main.ts"), program);
  writeFileSync(
    join(root, "old.cjs"),
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.1.0" } });',
  );
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(root, { recursive: true, force: true });
});

/** Puts this Node where the installation brings one. */
function bringNode(): void {
  const folder = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin");
  mkdirSync(folder, { recursive: true });
  symlinkSync(process.execPath, join(folder, "node"));
}

type Run = { child: ChildProcess; output: () => string; ended: Promise<[number | null, string | null]> };

function run(args: string[], env: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(args[0] ?? "", args.slice(1), {
    cwd: root,
    stdio: "pipe",
    env: { ...process.env, ...env },
  });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = once(child, "close") as Promise<[number | null, string | null]>;
  return { child, output: () => output, ended };
}

const node = process.execPath;
const old = [node, "--require", "./old.cjs"];

describe.each([
  ["new enough", [node]],
  ["too old", old],
])("on a Node that is %s", (age, start) => {
  beforeEach(bringNode);

  it("runs with the arguments as they are, without warnings", async () => {
    const { child, output, ended } = run([...start, "bin/berth.js", "a b", "--c=*"]);
    expect(await ended).toEqual([0, null]);
    const parent = age === "too old" ? child.pid : process.pid;
    expect(output()).toBe(`["a b","--c=*"] ${process.versions.node.split(".")[0]} ${parent}\n`);
  });

  it("ends as the program ends", async () => {
    expect(await run([...start, "bin/berth.js", "fail"]).ended).toEqual([7, null]);
    expect(await run([...start, "bin/berth.js", "abort"]).ended).toEqual([null, "SIGKILL"]);
    expect(await run([...start, "bin/node.js", "src/main.ts", "fail"]).ended).toEqual([7, null]);
  });

  it("passes a signal on", async () => {
    const { child, ended } = run([...start, "bin/berth.js", "wait"]);
    await once(child.stdout ?? child, "data");
    child.kill("SIGTERM");
    expect(await ended).toEqual([42, null]);
  });

  it("ends with the shell that npm puts in between", async () => {
    const line = `${start.join(" ")} bin/berth.js wait; true`;
    const shell = run(["/bin/sh", "-c", line], { npm_lifecycle_script: "node bin/berth.js wait" });
    await once(shell.child.stdout ?? shell.child, "data");
    shell.child.kill("SIGKILL");
    // "close" comes when the last holder of the output has ended.
    expect(await shell.ended).toEqual([null, "SIGKILL"]);
  });
});

it("says in one line what is missing when there is no Node that would do", async () => {
  const { output, ended } = run([...old, "bin/berth.js"]);
  expect(await ended).toEqual([1, null]);
  expect(output()).toMatch(
    /^Berth needs Node 24 or newer; this is Node 20\.1\.0\. Install it from https:.*\n$/,
  );
});
