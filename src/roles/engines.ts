/**
 * `berth engines`: what this machine has of engines, installing one, and what is wrong. Runs on the machine itself, with or
 * without a Berth that runs; a Berth learns of a new engine when it starts.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { EnginesTask } from "../cli/context.ts";
import { createContainers } from "../drivers/local/containers/containers.ts";
import type { RuntimeUsers } from "../drivers/local/containers/run-args.ts";
import { findShippedLibraries } from "../engines/embedded/shipped.ts";
import { findProgram } from "../engines/find-program.ts";
import { type Installation, llamaServerBuild, vllmInstallation } from "../engines/install.ts";
import { runInstallation } from "../engines/install-run.ts";
import type { Found } from "../engines/llama-server/program.ts";
import { findRelease, releaseInstallation, releasesUrl, runsWith } from "../engines/llama-server/releases.ts";
import { engineFolder, findEngines } from "../engines/machine-engines.ts";
import type { VllmProgram } from "../engines/vllm/program.ts";
import type { Settings } from "../settings.ts";
import { openEngines } from "./machine.ts";
import { loadSettings, openLog } from "./process.ts";

const run = promisify(execFile);

/** @returns the exit code */
export async function engines(task: EnginesTask): Promise<number> {
  const settings = loadSettings();
  switch (task.do) {
    case "ls":
      return await list(settings, task.json);
    case "doctor":
      return await examine(settings, task.json);
    case "install":
      return await install(settings, task);
  }
}

type Row = {
  readonly name: string;
  readonly runs_on: "cpu" | "gpu";
  readonly version: string;
  readonly path: string;
  readonly abilities: readonly string[];
};

async function list(settings: Settings, wantsJson: boolean): Promise<number> {
  const log = openLog("engines", { ...settings, BERTH_LOG_LEVEL: "error" });
  const { llamaServer, vllm, containerRuntime } = await findEngines(settings, process.env);
  const programs: Record<string, { version: string; path: string }> = {
    embedded: { version: `llama.cpp ${(await readCarried()).release}`, path: "a part of Berth" },
    ...(llamaServer.state === "found" ? { "llama-server": llamaServer.program } : {}),
    ...(vllm.state === "found"
      ? { vllm: { ...vllm.program, path: placeOf(vllm.program, containerRuntime) } }
      : {}),
  };
  const rows: Row[] = [...(await openEngines(settings, log)).engines.values()].map((engine) => ({
    ...{ name: engine.name, runs_on: engine.runsOn },
    ...{ version: programs[engine.name]?.version ?? "", path: programs[engine.name]?.path ?? "" },
    abilities: Object.entries(engine.abilities).flatMap(([name, value]) => (value === true ? [name] : [])),
  }));
  print(wantsJson ? `${JSON.stringify(rows, null, 2)}\n` : rows.map(describeRow).join(""));
  return 0;
}

function placeOf({ path, image }: VllmProgram, containerRuntime: string | null): string {
  return image === undefined ? path : `the image ${image}, run by ${containerRuntime}`;
}

function describeRow({ name, runs_on, version, path, abilities }: Row): string {
  return `${name.padEnd(14)}${runs_on.padEnd(5)}${version}\n${" ".repeat(14)}${path}\n${" ".repeat(14)}${abilities.map(wordsOf).join(", ")}\n`;
}

/** "jsonSchema" as "json schema". */
function wordsOf(ability: string): string {
  return ability.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

type Finding = {
  readonly check: string;
  readonly state: "ok" | "warn";
  readonly detail: string;
  readonly next: string;
};

async function examine(settings: Settings, wantsJson: boolean): Promise<number> {
  const { llamaServer, vllm, containerRuntime } = await findEngines(settings, process.env);
  const image = vllm.state === "found" ? vllm.program.image : undefined;
  const findings: Finding[] = [
    {
      check: "embedded",
      state: "ok",
      detail: `llama.cpp ${(await readCarried()).release}, a part of Berth`,
      next: "",
    },
    describeFound(
      "llama-server",
      llamaServer,
      "GGUF files are served by the embedded engine, which is slower and uses no GPU.",
    ),
    image === undefined
      ? describeFound("vllm", vllm, "Models in safetensors files cannot be deployed.")
      : describeImage(image, settings.BERTH_VLLM === "image"),
    await examineContainers(settings, containerRuntime, image),
    ...(await examineTools()),
  ];
  if (wantsJson) print(`${JSON.stringify(findings, null, 2)}\n`);
  else {
    for (const { check, state, detail, next } of findings) {
      print(
        `${state.padEnd(6)}${check.padEnd(14)}${detail}\n${next === "" ? "" : `${" ".repeat(20)}${next}\n`}`,
      );
    }
  }
  return 0;
}

function describeFound(
  name: "llama-server" | "vllm",
  found: Found<{ readonly version: string; readonly path: string }>,
  without: string,
): Finding {
  const install = `Install it with \`berth engines install ${name}\`.`;
  if (found.state === "absent") {
    return { check: name, state: "warn", detail: "is not on this machine", next: `${without} ${install}` };
  }
  if (found.state === "broken") {
    const detail = `${found.path} cannot be used: ${found.why}`;
    return { check: name, state: "warn", detail, next: install };
  }
  const { version, path } = found.program;
  return { check: name, state: "ok", detail: `${version} (${path})`, next: "" };
}

function describeImage(image: string, isTheOnly: boolean): Finding {
  const others = isTheOnly ? "" : " vLLM on PATH, or from `berth engines install vllm`, would go before it.";
  const next = `It is fetched with the first deployment.${others}`;
  return { check: "vllm", state: "ok", detail: `in the image ${image}`, next };
}

async function examineContainers(
  settings: Settings,
  program: string | null,
  image: string | undefined,
): Promise<Finding> {
  const check = "containers";
  const { BERTH_VLLM: vllm, BERTH_CONTAINER_RUNTIME: named, BERTH_CONTAINER_IMAGES: images } = settings;
  const isNeeded = image !== undefined || vllm === "image" || images !== "";
  if (program === null) {
    const isMissed = isNeeded || (named !== undefined && named !== "off");
    const next = isMissed ? "Install Docker or Podman, or name it with BERTH_CONTAINER_RUNTIME." : "";
    return { check, state: isMissed ? "warn" : "ok", detail: "no container runtime is here", next };
  }
  const { BERTH_HOME: home, BERTH_IMAGE_S: imageS } = settings;
  const containers = createContainers({
    ...{ program, home, environment: process.env, imageLimitMs: imageS * 1000 },
  });
  const state = await containers.state();
  if (!state.ok) {
    const { message, next } = state.failure;
    return {
      check,
      state: isNeeded ? "warn" : "ok",
      detail: `${program}: ${message}`,
      next: isNeeded ? next : "",
    };
  }
  const { kind, users } = state.runtime;
  return { check, state: "ok", detail: `${kind} ${state.version} (${program}${ofUsers[users]})`, next: "" };
}

const ofUsers: Readonly<Record<RuntimeUsers, string>> = {
  same: "",
  remapped: ", which maps users",
  "rootless-docker": ", without root",
  "rootless-podman": ", without root",
};

const buildTools = ["git", "cmake", "c++"];

/** What installing needs; none of it is needed to run Berth. */
async function examineTools(): Promise<Finding[]> {
  const needs = [
    { check: "building", programs: buildTools, of: "llama-server" },
    { check: "Python", programs: ["python3"], of: "vllm" },
  ];
  return await Promise.all(
    needs.map(async ({ check, programs, of }): Promise<Finding> => {
      const lacking = await lackingOf(programs);
      return lacking.length === 0
        ? { check, state: "ok", detail: `here: ${programs.join(", ")}`, next: "" }
        : {
            ...{ check, state: "warn", detail: `there is no ${lacking.join(", no ")}` },
            next: `\`berth engines install ${of}\` needs it${of === "vllm" ? "" : "; without, it fetches a release"}.`,
          };
    }),
  );
}

async function lackingOf(programs: readonly string[]): Promise<string[]> {
  const found = await Promise.all(programs.map((program) => findProgram([program], process.env)));
  return programs.filter((_, index) => found[index] === null);
}

type Install = Extract<EnginesTask, { readonly do: "install" }>;

async function install(settings: Settings, task: Install): Promise<number> {
  const folder = engineFolder(settings.BERTH_HOME, task.engine);
  const plan =
    task.engine === "vllm"
      ? await planVllm(folder, task.cpu)
      : await planLlamaServer(folder, task.download, settings.BERTH_LLAMA_RELEASES ?? releasesUrl);
  if (typeof plan === "string") return fail(plan);
  const failed = await runInstallation(plan, {
    ...{ folder, environment: await installEnvironment(), signal: task.signal },
    show: (line) => process.stderr.write(`${line}\n`),
    check: async () => await whyBroken(settings, task.engine),
  });
  if (failed !== null) return fail(failed);
  const text = `${task.engine} is installed in ${folder}. A Berth that runs uses it after its next start.`;
  print(task.json ? `${JSON.stringify({ engine: task.engine, folder })}\n` : `${text}\n`);
  return 0;
}

/** Looks where it was installed alone: another place that the settings name does not count. */
async function whyBroken(settings: Settings, engine: Install["engine"]): Promise<string | null> {
  const found = await findEngines({ BERTH_HOME: settings.BERTH_HOME }, {});
  const { state, ...more } = engine === "vllm" ? found.vllm : found.llamaServer;
  if (state === "found") return null;
  const why = "why" in more ? more.why : "its program is not where it should be";
  return `${engine} was installed, but does not run here: ${why}. It was removed again.${engine === "vllm" ? "" : ` ${buildInstead}`}`;
}

const buildInstead =
  "Built on this machine it runs: `berth engines install llama-server` does that where git, cmake and a C++ compiler are.";

async function planVllm(folder: string, forCpu: boolean): Promise<Installation | string> {
  if ((await lackingOf(["python3"])).length > 0) return "installing vllm needs python3, which is not here.";
  const { stdout } = await run("python3", ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
  const pythonVersion = stdout.trim();
  if (!/^3\.1[0-3]$/.test(pythonVersion))
    return `vLLM needs Python 3.10 to 3.13; python3 is ${pythonVersion}.`;
  return vllmInstallation({ folder, python: "python3", pythonVersion, forCpu });
}

/**
 * Built where that is possible: it is the release that Berth is tested with, made for the system that is here. For GPUs that takes
 * NVIDIA's compiler; without it, the published build for them.
 */
async function planLlamaServer(
  folder: string,
  wantsDownload: boolean,
  from: string,
): Promise<Installation | string> {
  const lacking = await lackingOf(buildTools);
  const hasGpu = (await lackingOf(["nvidia-smi"])).length === 0;
  const withCuda = (await findProgram(["nvcc", "/usr/local/cuda/bin/nvcc"], process.env)) !== null;
  const mustFetch = wantsDownload || lacking.length > 0;
  if (mustFetch || (hasGpu && !withCuda)) {
    const fetched = await planRelease(folder, hasGpu, from);
    if (typeof fetched !== "string") return fetched;
    if (mustFetch) return `${fetched} ${lacking.length > 0 ? lackingTools(lacking) : buildInstead}`;
    process.stderr.write(`${fetched} The server is built without CUDA and will use no GPU.\n`);
  }
  const { bundle, release, libraries } = await readCarried();
  if (!existsSync(bundle)) return "the source of llama.cpp is not beside node-llama-cpp.";
  return llamaServerBuild({ folder, bundle, release, libraries, jobs: availableParallelism(), withCuda });
}

function lackingTools(lacking: readonly string[]): string {
  return `Building it needs ${lacking.join(" and ")}, which is not here.`;
}

/** The published build for this machine, or why none of them would run here. */
async function planRelease(folder: string, withCuda: boolean, from: string): Promise<Installation | string> {
  const lacking = await lackingOf(["curl", "sha256sum", "tar"]);
  if (lacking.length > 0) return `Fetching a release needs ${lacking.join(" and ")}, which is not here.`;
  const platform = `${process.platform}-${process.arch}`;
  const release = findRelease(platform, withCuda);
  if (release === null) {
    return `llama.cpp publishes no server for ${platform}${withCuda ? " with CUDA" : ""} that Berth knows.`;
  }
  const glibc = installedGlibc();
  if (glibc === null || !runsWith(release, glibc)) {
    const has = glibc === null ? "which this system does not have" : `this system has ${glibc}`;
    return `The server that llama.cpp publishes needs glibc ${release.glibc} or newer; ${has}.`;
  }
  return releaseInstallation(release, { folder, from });
}

/** As "2.36"; null where the system has another C library. */
function installedGlibc(): string | null {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? null;
}

/** The release of llama.cpp that node-llama-cpp is built from, its source, and its libraries for this platform, if any. */
async function readCarried(): Promise<{ bundle: string; release: string; libraries: string | null }> {
  const entry = createRequire(import.meta.url).resolve("node-llama-cpp");
  const folder = join(dirname(entry), "../llama");
  const about = await readFile(join(folder, "binariesGithubRelease.json"), "utf8");
  const { release } = JSON.parse(about) as { release: string };
  // On other systems they are not of the kind that can be linked with.
  const libraries = process.platform === "linux" ? findShippedLibraries() : null;
  return { bundle: join(folder, "gitRelease.bundle"), release, libraries };
}

/** The person's own, with its proxies and certificates, but without Berth's secrets; uv is told where pip fetches from. */
async function installEnvironment(): Promise<NodeJS.ProcessEnv> {
  const own = Object.entries(process.env).filter(([name]) => !/^BERTH_|^HF_TOKEN$|DATABASE_URL/.test(name));
  const environment = Object.fromEntries(own);
  if (environment.UV_DEFAULT_INDEX !== undefined) return environment;
  const index = environment.PIP_INDEX_URL ?? (await pipIndex());
  return index === null ? environment : { ...environment, UV_DEFAULT_INDEX: index };
}

async function pipIndex(): Promise<string | null> {
  try {
    const { stdout } = await run("python3", ["-m", "pip", "config", "get", "global.index-url"]);
    return stdout.trim() || null;
  } catch {
    return null; // Not set, or no pip: uv's own default is right.
  }
}

function print(text: string): void {
  process.stdout.write(text);
}

function fail(sentence: string): number {
  process.stderr.write(`berth: ${sentence}\n`);
  return 1;
}
