/**
 * `berth doctor`: looks at what a Berth needs, here and over its API, and says of each thing whether it is well and
 * what to do if not. Changes nothing.
 */
import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { type BerthInfoOut, berthInfoOut, meOut } from "../schema/account.ts";
import { deploymentListOut, gpuAvailabilityOut } from "../schema/deploy.ts";
import { formatBytes } from "./amounts.ts";
import { connectionCode } from "./client.ts";
import type { Act, Cli } from "./context.ts";
import { berthHome } from "./credentials.ts";
import { CliError, exitCodes } from "./exit.ts";
import { plain } from "./terminal.ts";

export type Finding = {
  readonly check: string;
  readonly state: "ok" | "warn" | "fail";
  /** What was found. */
  readonly detail: string;
  /** What to do, "" when nothing. */
  readonly next: string;
};

/** Node that Berth needs (type stripping, node:sqlite). */
const oldestNode = 24;
const lowDiskBytes = 10e9;
const leastDiskBytes = 1e9;
const lowMemoryBytes = 4e9;
const askTimeoutMs = 5000;

const examples = `
Examples:
  berth doctor
  berth doctor --json | jq '.[] | select(.state != "ok")'`;

export function addDoctor(program: Command, act: Act): void {
  program
    .command("doctor")
    .summary("check this machine and the Berth on it")
    .description(
      "Checks what Berth needs, on this machine and at its address; says what to do. Changes nothing.",
    )
    .addHelpText("after", examples)
    .action(act(runDoctor));
}

async function runDoctor(cli: Cli): Promise<void> {
  const findings: Finding[] = [];
  const report = (finding: Finding) => {
    findings.push(finding);
    if (!cli.json) cli.print(describeFinding(cli, finding));
  };
  report(checkNode(process.versions.node));
  report(checkMachine());
  for (const finding of await checkHome(berthHome(cli.deps.env))) report(finding);
  report(await checkHub(cli));
  for await (const finding of checkServer(cli)) report(finding);
  if (cli.json) cli.printJson(findings);
  const failed = findings.filter((finding) => finding.state === "fail").length;
  if (failed > 0) throw new CliError(exitCodes.failed, `${failed} of ${findings.length} checks failed.`);
}

function describeFinding(cli: Cli, { check, state, detail, next }: Finding): string {
  const paint = { ok: cli.palette.green, warn: cli.palette.yellow, fail: cli.palette.red }[state];
  const advice = next === "" ? "" : `${" ".repeat(18)}${plain(next)}\n`;
  return `${paint(state.padEnd(4))}  ${check.padEnd(10)}  ${plain(detail)}\n${advice}`;
}

/** @param version of Node, as "24.21.0" */
export function checkNode(version: string): Finding {
  const isNew = Number(version.split(".")[0]) >= oldestNode;
  return {
    check: "node",
    state: isNew ? "ok" : "fail",
    detail: `Node ${version}`,
    next: isNew ? "" : `Berth needs Node ${oldestNode} or newer.`,
  };
}

function checkMachine(): Finding {
  const memory = totalmem();
  const isLow = memory < lowMemoryBytes;
  return {
    check: "machine",
    state: isLow ? "warn" : "ok",
    detail: `${availableParallelism()} CPU cores, ${formatBytes(memory)} of memory`,
    next: isLow ? "Small models fit; larger ones need more memory." : "",
  };
}

async function checkHome(home: string): Promise<Finding[]> {
  const existing = await nearestFolder(home);
  const findings: Finding[] = [];
  const canWrite = await access(existing, constants.W_OK).then(
    () => true,
    () => false,
  );
  const isNew = existing !== home;
  findings.push({
    check: "state",
    state: canWrite ? "ok" : "fail",
    detail: isNew ? `${home} does not exist yet` : home,
    next: canWrite ? "" : `${existing} cannot be written by this user: set BERTH_HOME to a folder that can.`,
  });
  const disk = await statfs(existing);
  const free = disk.bavail * disk.bsize;
  findings.push({
    check: "disk",
    state: free < leastDiskBytes ? "fail" : free < lowDiskBytes ? "warn" : "ok",
    detail: `${formatBytes(free)} free for weights and state`,
    next:
      free < lowDiskBytes
        ? "Weights take 1 to 100 GB a model: make room, or set BERTH_HOME to a larger disk."
        : "",
  });
  const mode = await fileMode(join(home, "token"));
  if (mode !== null && (mode & 0o077) !== 0) {
    findings.push({
      check: "secrets",
      state: "warn",
      detail: `${join(home, "token")} can be read by other users`,
      next: `chmod 600 ${join(home, "token")}`,
    });
  }
  return findings;
}

async function nearestFolder(path: string): Promise<string> {
  const mode = await fileMode(path);
  const parent = dirname(path);
  return mode !== null || parent === path ? path : nearestFolder(parent);
}

/** Null when there is no such file, or it cannot be looked at. */
async function fileMode(path: string): Promise<number | null> {
  return stat(path).then(
    (found) => found.mode,
    () => null,
  );
}

/** Only as seen from here: the server may have another way out. Nothing secret is sent. */
async function checkHub(cli: Cli): Promise<Finding> {
  const endpoint = cli.deps.env.HF_ENDPOINT || "https://huggingface.co";
  const shown = URL.canParse(endpoint) ? new URL(endpoint).host : "HF_ENDPOINT";
  try {
    const response = await cli.deps.fetch(endpoint, {
      method: "HEAD",
      redirect: "manual",
      signal: AbortSignal.any([cli.signal, AbortSignal.timeout(askTimeoutMs)]),
    });
    await response.body?.cancel();
    return { check: "hub", state: "ok", detail: `${shown} answers`, next: "" };
  } catch (error) {
    cli.signal.throwIfAborted();
    const reason = connectionCode(error) || "no connection";
    return {
      check: "hub",
      state: "warn",
      detail: `${shown} does not answer from this machine (${reason})`,
      next: "New models cannot be fetched from here; cached ones and berth/starter can be deployed.",
    };
  }
}

async function* checkServer(cli: Cli): AsyncGenerator<Finding> {
  const { client } = cli;
  const signal = () => AbortSignal.any([cli.signal, AbortSignal.timeout(askTimeoutMs)]);
  const isUp = await client.answers("/healthz", signal());
  cli.signal.throwIfAborted();
  yield {
    check: "server",
    state: isUp ? "ok" : "fail",
    detail: isUp ? `${client.url} answers` : `no Berth answers at ${client.url}`,
    next: isUp ? "" : "Start one with `berth serve`, or name another with --url or BERTH_URL.",
  };
  if (!isUp) return;
  const isReady = await client.answers("/readyz", signal());
  yield {
    check: "ready",
    state: isReady ? "ok" : "warn",
    detail: isReady ? "serves requests" : "is up but not ready to serve requests",
    next: isReady ? "" : "It may be starting; if this stays, look at its log.",
  };
  const options = { signal: cli.signal };
  let isAdmin = false;
  const token = await attempt("token", async () => {
    // No more than it needs, so that it can look at a Berth of another version.
    const named = meOut.pick({ display_name: true, is_admin: true });
    const me = await client.call("GET", "/v1/me", named, options);
    isAdmin = me.is_admin;
    return `account ${me.display_name}${me.is_admin ? ", administrator" : ""}`;
  });
  yield token;
  if (token.state !== "ok") return;
  if (isAdmin) yield await checkIsolation(cli);
  if (isAdmin) yield* checkGpus(cli);
  if (isAdmin) yield* checkProcesses(cli);
  yield await attempt("hardware", async () => {
    const { gpus } = await client.call("GET", "/deploy/llm/gpu_availability", gpuAvailabilityOut, options);
    const free = gpus.filter((gpu) => gpu.available).map((gpu) => gpu.gpu_config);
    return free.length === 0 ? "nothing is free for another instance" : `free: ${free.join(", ")}`;
  });
  let failed: string[] = [];
  const deployments = await attempt("models", async () => {
    const list = await client.call("GET", "/deploy/list", deploymentListOut, options);
    failed = list.filter((one) => one.status === "failed").map((one) => one.model_name);
    const running = list.filter((one) => one.status === "running").length;
    return `${list.length} deployments, ${running} running, ${failed.length} failed`;
  });
  const [first] = failed;
  yield first === undefined
    ? deployments
    : { ...deployments, state: "warn", next: `\`${cli.command} status ${plain(first)}\` says why.` };
}

async function attempt(check: string, ask: () => Promise<string>): Promise<Finding> {
  try {
    return { check, state: "ok", detail: await ask(), next: "" };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { check, state: "fail", detail: error.message, next: "" };
  }
}

/** GPUs that are there and not offered; nothing where all are, or none is there. */
async function* checkGpus(cli: Cli): AsyncGenerator<Finding> {
  const asked = berthInfoOut.pick({ gpus: true });
  let gpus: BerthInfoOut["gpus"] = [];
  const answer = await attempt("gpu", async () => {
    ({ gpus } = await cli.client.call("GET", "/v1/berth/info", asked, { signal: cli.signal }));
    return "";
  });
  if (answer.state !== "ok") yield answer;
  for (const { id, name, usable, outage, reason } of gpus) {
    if (usable) continue;
    yield {
      check: "gpu",
      state: outage === null ? "ok" : "warn",
      detail: `${name} (${id}) is not offered: ${reason ?? "unknown"}`,
      next: outage === null ? "" : (outageAdvice[outage] ?? ""),
    };
  }
}

/** Berth's own processes that had to be started again; nothing where none was. */
async function* checkProcesses(cli: Cli): AsyncGenerator<Finding> {
  const asked = berthInfoOut.pick({ restarts: true });
  let restarts: BerthInfoOut["restarts"] = [];
  const answer = await attempt("processes", async () => {
    ({ restarts } = await cli.client.call("GET", "/v1/berth/info", asked, { signal: cli.signal }));
    return "";
  });
  const last = restarts.at(-1);
  if (answer.state !== "ok") yield answer;
  if (last === undefined) return;
  const more = restarts.length === 1 ? "" : `; ${restarts.length} restarts are known`;
  yield {
    check: "processes",
    state: "warn",
    detail: `${last.process} ${last.reason}, and was started again (${last.at}${more})`,
    next: "Berth's log says what was before it. Once may be chance; again and again is a defect, or too little memory.",
  };
}

const outageAdvice: Readonly<Record<string, string>> = {
  lost: "Look at the kernel's log for Xid; reset the GPU or reboot the machine.",
  sick: "Reset it when nothing runs on it (nvidia-smi --gpu-reset), or have it replaced.",
  busy: "End that process, or leave the GPU to it.",
};

/** Whether engines are kept from Berth's state and from each other. */
async function checkIsolation(cli: Cli): Promise<Finding> {
  let missing: { reason: string; next: string } | null = null;
  const finding = await attempt("isolation", async () => {
    const { isolation } = await cli.client.call("GET", "/v1/berth/info", berthInfoOut, {
      signal: cli.signal,
    });
    if (isolation.isolated) return "engines are shut in: they see their weights and their own folder only";
    missing = { reason: isolation.reason ?? "", next: isolation.next ?? "" };
    return `engines are not isolated: ${missing.reason}; only one account may deploy`;
  });
  return missing === null ? finding : { ...finding, state: "warn", next: (missing as { next: string }).next };
}
