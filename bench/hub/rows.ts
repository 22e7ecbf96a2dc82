/**
 * The hub's seven figures, each against its bar in one run on a loopback hub. Each row alternates what it compares, so that
 * a machine whose speed drifts treats both alike, and the medians of its rounds are compared.
 *
 *   npm run bench:hub -- [--only tmpfs,disk,python,limited,kills,stall,starters] [--rounds 5] [--file-mib 512] [--kills 100]
 *
 * `python` needs BERTH_BENCH_PYTHON, a Python with huggingface_hub; without it the row says so. 8 files of 512 MiB need
 * as much room in /dev/shm; the bars are meant for that size.
 */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { defaultHubLimits } from "../../src/hub/limits.ts";
import {
  expectSuccess,
  median,
  mib,
  repo,
  type Stand,
  startPull,
  startStand,
  timeCommand,
  timePull,
  withFolder,
} from "./stand.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "5" },
    "file-mib": { type: "string", default: "512" },
    kills: { type: "string", default: "100" },
  },
});
const rounds = Number(values.rounds);
const fileMib = Number(values["file-mib"]);
const kills = Number(values.kills);
const files = 8;
const memory = "/dev/shm";
const disk = tmpdir();

type Row = {
  readonly what: string;
  readonly figure: string;
  readonly bar: string;
  readonly holds: boolean | null;
};

/** Median times of two ways, and their ratio, against the most that it may be. */
function ratioRow(what: string, ours: readonly number[], theirs: readonly number[], bar: number): Row {
  const [mine, other] = [median(ours), median(theirs)];
  const ratio = mine / other;
  const figure = `${ratio.toFixed(2)} (${seconds(mine)} / ${seconds(other)})`;
  return { what, figure, bar: `<= ${bar}`, holds: ratio <= bar };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** Both ways `rounds` times, in turn. */
async function alternate(
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
): Promise<{ ours: number[]; theirs: number[] }> {
  const times = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    times.ours.push(await ours());
    times.theirs.push(await theirs());
  }
  return times;
}

async function pullInto(stand: Stand, where: string): Promise<number> {
  return await withFolder(where, async (home) => (await timePull(stand.url, home)).tookMs);
}

async function compareWithCurl(): Promise<Row> {
  await using stand = await startStand(files, fileMib);
  const curl = () =>
    withFolder(memory, async (folder) => {
      let tookMs = 0;
      for (const { path } of stand.files) {
        const target = join(folder, path);
        const url = `${stand.url}/${repo}/resolve/main/${path}`;
        tookMs += await timeCommand("curl", ["-sSfL", "-o", target, url]);
        tookMs += await timeCommand("openssl", ["dgst", "-sha256", target]);
      }
      return tookMs;
    });
  const times = await alternate(() => pullInto(stand, memory), curl);
  return ratioRow("tmpfs: against curl, then openssl", times.ours, times.theirs, 0.8);
}

async function compareWithDd(): Promise<Row> {
  await using stand = await startStand(files, fileMib);
  const dd = () =>
    withFolder(disk, async (folder) => {
      const target = `of=${join(folder, "file")}`;
      const count = `count=${files * fileMib}`;
      return await timeCommand("dd", ["if=/dev/zero", target, "bs=1M", count, "conv=fsync", "status=none"]);
    });
  const times = await alternate(() => pullInto(stand, disk), dd);
  return ratioRow("disk: against dd conv=fsync", times.ours, times.theirs, 1.2);
}

const pythonPull = `
import hashlib, os, sys
from huggingface_hub import snapshot_download
folder = snapshot_download("${repo}", cache_dir=sys.argv[1])
for name in os.listdir(folder):
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == os.path.basename(os.path.realpath(path)), name
`;

async function compareWithPython(): Promise<Row> {
  const what = "tmpfs: against huggingface_hub and a hash check";
  const python = process.env.BERTH_BENCH_PYTHON;
  if (python === undefined)
    return { what, figure: "BERTH_BENCH_PYTHON is not set", bar: "<= 0.7", holds: null };
  await using stand = await startStand(files, fileMib);
  const env = {
    ...process.env,
    HF_ENDPOINT: stand.url,
    HF_HUB_DISABLE_PROGRESS_BARS: "1",
    HF_HUB_DISABLE_XET: "1",
  };
  const download = () =>
    withFolder(memory, async (folder) => {
      const startedAtMs = performance.now();
      const options = { env, stdio: ["ignore", "ignore", "inherit"] as const };
      await expectSuccess(
        spawn(python, ["-c", pythonPull, folder], { ...options, stdio: [...options.stdio] }),
        "Python",
      );
      return performance.now() - startedAtMs;
    });
  const times = await alternate(() => pullInto(stand, memory), download);
  return ratioRow(what, times.ours, times.theirs, 0.7);
}

/** One large file from a server that gives each connection 50 MB/s: what several connections are for. */
async function compareLimited(): Promise<Row> {
  await using stand = await startStand(1, files * fileMib, 50_000_000);
  const pull = (options: readonly string[]) =>
    withFolder(memory, async (home) => (await timePull(stand.url, home, options)).tookMs);
  const times = await alternate(
    () => pull([]),
    () => pull(["1"]),
  );
  const ratio = median(times.theirs) / median(times.ours);
  const figure = `${ratio.toFixed(1)} times (${seconds(median(times.ours))} / ${seconds(median(times.theirs))})`;
  return { what: "50 MB/s a connection: against one", figure, bar: ">= 6 times", holds: ratio >= 6 };
}

/** One download, killed again and again a moment after its first bytes, until it was killed often enough. */
async function countKilled(): Promise<Row> {
  await using stand = await startStand(1, files * fileMib, 50_000_000);
  return await withFolder(memory, async (home) => {
    for (let kill = 0; kill < kills; kill += 1) {
      const before = (await stand.counts()).sentBytes;
      const child = startPull(stand.url, home);
      const exited = once(child, "exit");
      while (child.exitCode === null && (await stand.counts()).sentBytes === before) await sleep(5);
      await sleep(randomInt(0, 100));
      child.kill("SIGKILL");
      await exited;
    }
    await expectSuccess(startPull(stand.url, home), "the last pull");
    const size = files * fileMib * mib;
    const { maxConnections, chunkBytes } = defaultHubLimits;
    const most = size + kills * maxConnections * chunkBytes;
    const { sentBytes } = await stand.counts();
    const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2);
    const figure = `${gigabytes(sentBytes)} GB of ${gigabytes(size)}`;
    return {
      what: `bytes sent, ${kills} kill -9`,
      figure,
      bar: `<= ${gigabytes(most)} GB`,
      holds: sentBytes <= most,
    };
  });
}

async function measureStalls(): Promise<Row> {
  await using stand = await startStand(files, fileMib);
  const stalls: number[] = [];
  const longest: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const report = await withFolder(memory, (home) => timePull(stand.url, home));
    stalls.push(report.stallP99Ms);
    longest.push(report.stallMaxMs);
  }
  const p99Ms = median(stalls);
  const figure = `${p99Ms.toFixed(1)} ms (longest ${median(longest).toFixed(1)} ms)`;
  return { what: "stall of the event loop, p99", figure, bar: "<= 20 ms", holds: p99Ms <= 20 };
}

async function startTogether(): Promise<Row> {
  await using stand = await startStand(1, fileMib);
  return await withFolder(memory, async (home) => {
    const children = Array.from({ length: 8 }, () => startPull(stand.url, home));
    await Promise.all(children.map((child) => expectSuccess(child, "a pull")));
    const { sentBytes } = await stand.counts();
    const downloads = sentBytes / (fileMib * mib);
    const blob = join(home, "hub", "models--bench--model", "blobs", stand.files[0]?.sha256 ?? "");
    const isWhole = (await stat(blob)).size === fileMib * mib;
    const figure = `${downloads.toFixed(2)} downloads`;
    return {
      what: "8 processes start at once",
      figure,
      bar: "1 download",
      holds: downloads === 1 && isWhole,
    };
  });
}

const rows: Readonly<Record<string, () => Promise<Row>>> = {
  tmpfs: compareWithCurl,
  disk: compareWithDd,
  python: compareWithPython,
  limited: compareLimited,
  kills: countKilled,
  stall: measureStalls,
  starters: startTogether,
};

const wanted = values.only?.split(",") ?? Object.keys(rows);
const unknown = wanted.filter((name) => rows[name] === undefined);
if (unknown.length > 0) {
  console.error(`There is no row ${unknown.join(", ")}; there are ${Object.keys(rows).join(", ")}.`);
  process.exit(2);
}
console.log(`${files} files of ${fileMib} MiB, medians of ${rounds} rounds`);
for (const name of wanted) {
  const row = await rows[name]?.();
  if (row === undefined) continue;
  const verdict = row.holds === null ? "not measured" : row.holds ? "holds" : "MISSED";
  console.log(`${row.what.padEnd(48)} ${row.figure.padEnd(40)} bar ${row.bar.padEnd(14)} ${verdict}`);
  if (row.holds === false) process.exitCode = 1;
}
