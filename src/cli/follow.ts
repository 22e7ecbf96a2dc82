/**
 * Follows a deployment until it runs, fails or stops, with a progress line on standard error. Asking is all it does:
 * when it ends early, the deployment goes on.
 */
import { type DeploymentOut, deploymentOut } from "../schema/deploy.ts";
import { type EventsOut, eventsOut } from "../schema/events.ts";
import { formatDuration } from "./amounts.ts";
import type { Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { askPatiently } from "./patience.ts";
import { createProgressDisplay, type ProgressView } from "./progress.ts";
import { plain } from "./terminal.ts";

const settledStatuses: readonly string[] = ["running", "failed", "stopped", "deleted"];

/** How often a terminal is redrawn, and how often is asked when nobody watches. */
const drawEveryMs = 300;
const askEveryMs = 1000;

/**
 * @returns the deployment, running or stopped
 * @throws CliError when it failed (its `fail_reason`), when Berth stays away, or on Ctrl-C (says that the deployment
 *   goes on)
 */
export async function followDeployment(cli: Cli, deployment: DeploymentOut): Promise<DeploymentOut> {
  const name = plain(deployment.model_name);
  const startedAtMs = cli.deps.clock.now();
  let settled: DeploymentOut;
  try {
    settled = await waitUntilSettled(cli, deployment.deploy_id, startedAtMs);
  } catch (error) {
    if (!cli.signal.aborted) throw error;
    throw new CliError(
      exitCodes.interrupted,
      `Stopped following; ${name} goes on without this terminal. \`${cli.command} status ${name}\` shows where it is.`,
    );
  }
  if (settled.status === "failed") {
    if (cli.json) cli.printJson(settled);
    throw new CliError(
      exitCodes.failed,
      `${name} failed: ${plain(settled.fail_reason) || "no reason was given."}`,
    );
  }
  if (settled.status !== "running") {
    throw new CliError(
      exitCodes.failed,
      `${name} is ${plain(settled.status)}: somebody else changed it meanwhile.`,
    );
  }
  const took = formatDuration((cli.deps.clock.now() - startedAtMs) / 1000);
  // At zero it is `running` too: the first request starts an instance.
  const isAsleep = settled.instances.running === 0;
  cli.note(`${name} is ${isAsleep ? "ready; its first request starts it" : "running"} (${took}).`);
  return settled;
}

async function waitUntilSettled(cli: Cli, id: string, startedAtMs: number): Promise<DeploymentOut> {
  const { clock, stderr } = cli.deps;
  const display = createProgressDisplay(stderr);
  const options = { signal: cli.signal };
  const elapsedS = () => (clock.now() - startedAtMs) / 1000;
  const show = (view: Omit<ProgressView, "elapsedS">) => {
    if (!cli.json) display.show({ ...view, elapsedS: elapsedS() });
  };
  const look = async () => {
    const deployment = await cli.client.call("GET", `/deploy/${id}`, deploymentOut, options);
    if (settledStatuses.includes(deployment.status)) return { deployment, happened: null };
    const happened = await cli.client.call("GET", `/deploy/${id}/events`, eventsOut, options);
    return { deployment, happened };
  };
  const away = { status: "waiting", download: null, detail: "Berth does not answer; trying again." };
  try {
    for (;;) {
      const { deployment, happened } = await askPatiently(cli, look, () => show(away));
      if (happened === null) return deployment;
      show(describeProgress(deployment, happened));
      await clock.sleep(stderr.isTTY === true ? drawEveryMs : askEveryMs, cli.signal);
    }
  } finally {
    display.clear();
  }
}

function describeProgress(deployment: DeploymentOut, happened: EventsOut): Omit<ProgressView, "elapsedS"> {
  const { progress, events } = happened;
  return {
    status: deployment.status,
    detail: events.at(-1)?.text ?? "",
    download:
      progress === null
        ? null
        : {
            bytesDone: progress.bytes_done,
            bytesTotal: progress.bytes_total,
            bytesPerS: progress.bytes_per_s,
            etaS: progress.eta_s,
          },
  };
}
