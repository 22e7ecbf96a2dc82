/**
 * Wires the supervisor: `berth serve`. Flat, decides nothing.
 */

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { banner } from "../cli/banner.ts";
import { makeHome, readPrices, readTls } from "../settings-files.ts";
import { holdPort, isLoopback } from "../supervisor/address.ts";
import { supervise } from "../supervisor/supervise.ts";
import { systemClock } from "../telemetry/clock.ts";
import type { Log } from "../telemetry/log.ts";
import { controlFlags, gatewayFlags } from "./node-flags.ts";
import { loadSettings, openLog, publicUrl, root, sockets, takeLock, version } from "./process.ts";

/** Gateways end within milliseconds of a killed supervisor; on a machine without a free processor, or when they are stopped, later. */
const goneWithinMs = 10_000;

/** The supervisor: keeps control and gateway running, and tells the person where Berth is. */
export async function serve(extra: Readonly<Record<string, string>>): Promise<number> {
  const settings = loadSettings(extra);
  const log = openLog("serve", settings);
  const home = settings.BERTH_HOME;
  // What would end the gateway is said before control makes a state or starts an engine.
  readTls(settings);
  readPrices(settings);
  makeHome(home);
  const busy = `Berth already runs on ${home}. Stop it first, or set another BERTH_HOME.`;
  const lock = await takeLock(join(home, "serve.lock"), 0, busy);
  // Held here, so that connections wait while the gateway is started again.
  const patience = wasHere(home, settings.BERTH_PORT) ? { ms: goneWithinMs, sleep: systemClock.sleep } : null;
  const held = await holdPort(settings.BERTH_HOST, settings.BERTH_PORT, patience);
  const { port } = held;
  const env = { ...process.env, ...extra, BERTH_PORT: String(port) };
  const url = publicUrl(settings, port);
  if (url.startsWith("http:") && !isLoopback(settings.BERTH_HOST)) {
    log(
      "warn",
      "The port is open to the network in plain text, so tokens can be read on the way. Set BERTH_TLS_CERT and BERTH_TLS_KEY, or put a proxy that speaks TLS before it.",
    );
  }
  const ready = new Map<string, Readonly<Record<string, string>>>();
  const node = { command: process.execPath, env };
  const main = join(root, "src/main.ts");
  const count = settings.BERTH_GATEWAY_PROCESSES;
  const roles = [
    { ...node, name: "control", args: [...controlFlags, main, "control"] },
    ...Array.from({ length: count }, (_, seat) => ({
      ...node,
      name: count === 1 ? "gateway" : `gateway ${seat + 1}`,
      args: [...gatewayFlags, main, "gateway", "shared"],
      ...{ isRenewable: true, seat, sharedFd: held.fd },
    })),
  ];
  removeSockets(sockets(settings).directory);
  const supervisor = supervise({
    roles,
    clock: systemClock,
    renewsOnHangup: ![process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY),
    stopGraceMs: settings.BERTH_DRAIN_S * 1000 + 10_000,
    ...(settings.BERTH_HANG_S > 0 && { hangMs: settings.BERTH_HANG_S * 1000 }),
    onStopping: () => held.release(),
    log,
    onReady(role, details) {
      const isFirst = ready.size < roles.length;
      ready.set(role, details);
      const first = ready.get("control");
      if (!isFirst || ready.size < roles.length || first === undefined) return;
      writeAddress(home, url, log);
      const { account = "", newToken = "", tokenFile = "" } = first;
      process.stdout.write(
        banner({
          ...{ version, url, account },
          newToken: newToken === "" ? null : newToken,
          tokenFile: tokenFile === "" ? null : tokenFile,
          hasStarter: settings.BERTH_STARTER,
        }),
      );
    },
  });
  const exitCode = await supervisor.done;
  lock.release();
  return exitCode;
}

/** At which processes of the gateway heard each other that were killed. */
function removeSockets(directory: string): void {
  for (const name of readdirSync(directory))
    if (/^gateway-\d+\.sock$/.test(name)) rmSync(join(directory, name), { force: true });
}

/** This Berth was on the port the last time. One that was killed leaves gateways, which end when they notice. */
function wasHere(home: string, port: number): boolean {
  try {
    return new URL(readFileSync(join(home, "address"), "utf8").trim()).port === String(port);
  } catch {
    return false; // it has never run, or not on a port of its own
  }
}

/** For commands on this machine, which then need no address. Berth itself does without, on a full disk for instance. */
function writeAddress(home: string, url: string, log: Log): void {
  try {
    writeFileSync(join(home, "address"), `${url}\n`);
  } catch (error) {
    log("warn", "the address could not be written; name it with BERTH_URL", { error: String(error) });
  }
}
