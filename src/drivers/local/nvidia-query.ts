/**
 * Asks NVIDIA's driver for its cards and remembers what was seen: a card that falls off the bus vanishes from every list, and
 * is known only by having been there. Owns the running of the tool; bounded in time and output, nothing of control's environment
 * but the path. Does not judge.
 */
import { execFile } from "node:child_process";
import type { NvidiaInventory } from "./gpu-judge.ts";
import {
  type NvidiaGpu,
  type NvidiaNeighbours,
  readReport,
  readSliceIds,
  readTopology,
} from "./nvidia-smi.ts";

/** The tool takes up to some seconds where the driver has to wake the cards. */
const queryTimeoutMs = 20_000;
const maxOutputBytes = 8 * 2 ** 20;

export type NvidiaToolOptions = {
  /** The program; a name is looked for in PATH. */
  readonly program: string;
  readonly environment: NodeJS.ProcessEnv;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

export type NvidiaTool = {
  /**
   * Null where the tool is not installed. Throws when the driver as a whole does not answer: the last picture stays true.
   * @param held UUIDs that must be there, though an earlier control has seen them last
   */
  read(held: ReadonlySet<string>): Promise<NvidiaInventory | null>;
  readonly versions: { readonly driver: string; readonly cuda: string | null } | null;
};

type Answer = { readonly code: number | null; readonly output: string; readonly errors: string };

export function openNvidiaTool(options: NvidiaToolOptions): NvidiaTool {
  let known: readonly NvidiaGpu[] = [];
  let neighbours: readonly NvidiaNeighbours[] = [];
  let hasRead = false;
  let drawnFor = "";
  let lostBefore: ReadonlyMap<string, string> = new Map();
  let versions: NvidiaTool["versions"] = null;

  async function ask(...args: string[]): Promise<Answer | null> {
    return await runTool(options, args);
  }

  /** One question for all; where a lost card makes the driver refuse that, one for each card that was known. */
  async function readGpus(all: Answer): Promise<readonly NvidiaGpu[]> {
    const report = readReport(all.output);
    if (report !== null) {
      versions = { driver: report.driver, cuda: report.cuda };
      return report.gpus;
    }
    const names = hasRead ? known.map(({ uuid }) => uuid) : positions;
    const found: NvidiaGpu[] = [];
    for (const name of names) {
      const answer = await ask("-q", "-x", "-i", name);
      const gpus = answer === null ? null : (readReport(answer.output)?.gpus ?? null);
      found.push(...(gpus ?? []));
      // Beyond the last position, or nothing to do with one card.
      if (!hasRead && gpus === null && (answer === null || !saysLost(answer.output + answer.errors))) break;
    }
    // An empty machine says so in words; a lost one, a broken driver and a new version of it do as well.
    if (found.length === 0 && !isEmpty(all)) throw new Error(lastWords(all));
    return found;
  }

  /** A second look at each that is newly missing: one hiccup must not end an engine. */
  async function findLost(seen: readonly NvidiaGpu[], said: string): Promise<Map<string, string>> {
    const missing = known.filter(({ uuid }) => !seen.some((gpu) => gpu.uuid === uuid));
    const lost = new Map<string, string>();
    for (const gpu of missing) {
      const before = lostBefore.get(gpu.uuid);
      if (before !== undefined) {
        lost.set(gpu.uuid, before);
        continue;
      }
      const answer = await ask("-q", "-x", "-i", gpu.uuid);
      const isThere =
        answer !== null && readReport(answer.output)?.gpus.some(({ uuid }) => uuid === gpu.uuid);
      if (answer !== null && !isThere)
        lost.set(gpu.uuid, lostReason(gpu, `${said}\n${answer.output}\n${answer.errors}`));
    }
    return lost;
  }

  /** Parts of cards come and go with their card. */
  function remember(held: ReadonlySet<string>): void {
    const isNew = (id: string) => id.startsWith("GPU-") && !known.some(({ uuid }) => uuid === id);
    known = [...known, ...[...held].filter(isNew).map(unseenCard)];
  }

  async function drawTopology(gpus: readonly NvidiaGpu[]): Promise<void> {
    const cards = gpus.map(({ uuid }) => uuid).join();
    if (cards === drawnFor) return;
    drawnFor = cards;
    const answer = gpus.length > 1 ? await ask("topo", "-m") : null;
    neighbours = answer === null ? [] : readTopology(answer.output);
  }

  return {
    get versions() {
      return versions;
    },
    async read(held) {
      const all = await ask("-q", "-x");
      if (all === null) return null;
      remember(held);
      const seen = await readGpus(all);
      const lost = await findLost(seen, `${all.output.slice(0, 4000)}\n${all.errors}`);
      // With a card missing the driver counts the others anew: the picture that was drawn with all of them stays.
      if (lost.size === 0) await drawTopology(seen);
      known = mergeCards(known, seen);
      lostBefore = lost;
      hasRead = true;
      const sliced = seen.some(({ isSliced }) => isSliced) ? await ask("-L") : null;
      return { gpus: known, lost, sliceIds: readSliceIds(sliced?.output ?? ""), neighbours };
    },
  };
}

/** Where no answer ever came, cards are asked for by position; machines have no more. */
const positions = Array.from({ length: 16 }, (_, position) => String(position));

/** One that an instance holds and this control has not seen. */
function unseenCard(uuid: string): NvidiaGpu {
  return {
    ...{ uuid, busId: "", name: "of an earlier start", memoryBytes: null, usedBytes: null, isSliced: false },
    ...{ slices: [], processes: [], trouble: null, isLost: true },
  };
}

/** Cards keep their place; new ones come at the end. One that moved to other parts or another name is what it is now. */
function mergeCards(known: readonly NvidiaGpu[], seen: readonly NvidiaGpu[]): readonly NvidiaGpu[] {
  const now = new Map(seen.map((gpu) => [gpu.uuid, gpu]));
  const kept = known.map((gpu) => now.get(gpu.uuid) ?? gpu);
  const isNew = ({ uuid }: NvidiaGpu) => !known.some((gpu) => gpu.uuid === uuid);
  return [...kept, ...seen.filter(isNew)];
}

function isEmpty({ output, errors }: Answer): boolean {
  return /No devices (?:were )?found/i.test(output + errors);
}

function saysLost(text: string): boolean {
  return /unable to determine the device handle/i.test(text);
}

/** The sentence about this card where there is one: `Unable to determine the device handle for GPU1: 0000:34:00.0: …`. */
function lostReason({ busId }: NvidiaGpu, said: string): string {
  const address = busId.slice(-12);
  const lines = said.split("\n").filter(saysLost);
  const line = lines.find((text) => address !== "" && text.toLowerCase().includes(address.toLowerCase()));
  const why = /:\s*([^:]+?)\s*$/.exec(line ?? "")?.[1];
  return `the driver lost it${why === undefined ? "" : ` (${why.replace(/\.$/, "").slice(0, 80)})`}`;
}

function lastWords({ code, output, errors }: Answer): string {
  const lines = `${output}\n${errors}`.split("\n").map((line) => line.trim());
  return `nvidia-smi ended with ${code ?? "a signal"}: ${lines.findLast((line) => line !== "")?.slice(0, 200) ?? ""}`;
}

async function runTool(options: NvidiaToolOptions, args: readonly string[]): Promise<Answer | null> {
  const { environment, program } = options;
  return await new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      {
        ...{ timeout: queryTimeoutMs, killSignal: "SIGKILL", maxBuffer: maxOutputBytes },
        env: { PATH: environment.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
      },
      (error, output, errors) => {
        const code = error?.code;
        if (code === "ENOENT") resolve(null);
        else if (error !== null && error.killed === true)
          reject(new Error(`nvidia-smi did not answer in time`));
        else if (error !== null && typeof code !== "number") reject(error);
        else resolve({ code: typeof code === "number" ? code : 0, output, errors });
      },
    );
  });
}
