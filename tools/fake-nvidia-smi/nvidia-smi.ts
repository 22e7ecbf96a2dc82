/**
 * The fake tool as a program: `node nvidia-smi.ts MACHINE.json [nvidia-smi's arguments]`. Lists as users of a GPU, besides those that
 * the file names, all processes that were given its UUID in CUDA_VISIBLE_DEVICES, so that it is a witness of what Berth
 * really gave to whom.
 */
import { readdirSync, readFileSync } from "node:fs";
import { answer, type FakeMachine, type FakeProcess } from "./machine.ts";

const [machinePath = "", ...args] = process.argv.slice(2);
const machine = JSON.parse(readFileSync(machinePath, "utf8")) as FakeMachine;
const { code, output } = answer(machine, args, args[0] === "-q" ? findHolders() : new Map());
process.stdout.write(output);
process.exitCode = code;

function findHolders(): Map<string, FakeProcess[]> {
  const holders = new Map<string, FakeProcess[]>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const uuid of devicesOf(pid)) {
      const holder = { pid: Number(pid), type: "C", name: "engine", usedMib: 1000 };
      holders.set(uuid, [...(holders.get(uuid) ?? []), holder]);
    }
  }
  return holders;
}

function devicesOf(pid: string): string[] {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    const given = environment.find((entry) => entry.startsWith("CUDA_VISIBLE_DEVICES="))?.split("=")[1] ?? "";
    return given.split(",").filter((uuid) => uuid !== "");
  } catch {
    return []; // It has ended, or is somebody else's.
  }
}
