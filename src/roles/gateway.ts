/**
 * Wires the process that owns the public port. Flat, decides nothing.
 */

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { createGateway, type Gateway } from "../gateway/server.ts";
import { createSpool } from "../gateway/spool.ts";
import { usageRecordOf } from "../gateway/usage-record.ts";
import { readTls } from "../settings-files.ts";
import { listed } from "../settings-kinds.ts";
import { endAfterSuccessor, onSupervisorMessage, sharedFd, tellSupervisor } from "../supervisor/child.ts";
import { connectionsWithin, openFilesLimit } from "../supervisor/open-files.ts";
import { systemClock } from "../telemetry/clock.ts";
import type { Log } from "../telemetry/log.ts";
import { loadSettings, openLog, sockets } from "./process.ts";

/** Longest that the port of a gateway that is started again stays unread while control gives no routes. */
const routesWaitMs = 5000;
/** An older gateway hands over within milliseconds; one that hangs is kept, and its successor given up. */
const takeoverWaitMs = 10_000;

/**
 * The process that owns the public port.
 * @param isShared the supervisor holds the port, for this process and its successor
 */
export async function runGateway(isShared: boolean): Promise<void> {
  const settings = loadSettings();
  const log = openLog("gateway", settings);
  const { directory, api, link } = sockets(settings);
  const gatewayId = randomUUID();
  const spool = createSpool({
    ...{ gatewayId, linkSocket: link, clock: systemClock, log },
    root: join(settings.BERTH_HOME, "spool"),
    maxBytes: settings.BERTH_SPOOL_MB * 1_000_000,
  });
  let records = 0;
  const gateway = createGateway({
    gatewayId,
    linkSocket: link,
    apiSocket: api,
    host: settings.BERTH_HOST,
    port: settings.BERTH_PORT,
    ...(isShared && { listenFd: sharedFd }),
    tls: readTls(settings),
    trustedProxies: listed(settings.BERTH_TRUSTED_PROXIES),
    corsOrigins: listed(settings.BERTH_CORS_ORIGINS.toLowerCase()),
    webhookTargets: listed(settings.BERTH_WEBHOOK_TARGETS),
    limits: {
      waitMs: settings.BERTH_WAIT_S * 1000,
      connectionsMax: connectionsWithin(settings.BERTH_CONNECTIONS, openFilesLimit()),
      queueMax: settings.BERTH_QUEUE,
      keepAliveMs: settings.BERTH_KEEP_ALIVE_S * 1000,
      queueBytes: settings.BERTH_QUEUE_MB * 2 ** 20,
      bodyBytes: settings.BERTH_BODY_MB * 1_000_000,
      drainMs: settings.BERTH_DRAIN_S * 1000,
      headMs: 30_000,
      uploadMs: 300_000,
      snapshotMaxAgeMs: 3_600_000,
      slotWaitMs: settings.BERTH_QUEUE_WAIT_S * 1000,
      connectMs: settings.BERTH_CONNECT_S * 1000,
      firstTokenMs: settings.BERTH_FIRST_TOKEN_S * 1000,
      silenceMs: settings.BERTH_SILENCE_S * 1000,
      totalMs: settings.BERTH_TOTAL_S * 1000,
    },
    continuesStreams: settings.BERTH_CONTINUE,
    clock: systemClock,
    log,
    readSpool: async () => ({ bytes: await spool.waitingBytes(), dropped: spool.dropped }),
    onRecord(record) {
      const usage = usageRecordOf(record, `${gatewayId}.${records + 1}`);
      if (usage === null) return;
      records += 1;
      spool.add(usage);
    },
  });
  spool.start();
  endAfterSuccessor(async (hasSuccessor) => {
    await gateway.stop(hasSuccessor);
    await spool.stop();
  });
  gateway.follow();
  // Clients of a held port wait meanwhile; they would only be told that there are no routes yet.
  if (isShared) await Promise.race([gateway.routed, systemClock.sleep(routesWaitMs)]);
  await takeOver(gateway, directory, log);
  const { host, port } = await gateway.start();
  // Before, it answers, but only with 503.
  await gateway.routed;
  tellSupervisor({ type: "ready", details: { host, port: String(port) } });
}

/** Takes the slots of an older gateway over, where the supervisor has one, and hands them on when there is a successor. */
async function takeOver(gateway: Gateway, directory: string, log: Log): Promise<void> {
  const path = join(directory, `handover-${process.pid}.sock`);
  const { promise: isAlone, resolve: beAlone } = Promise.withResolvers<void>();
  const isSupervised = onSupervisorMessage((message) => {
    if (message.type === "alone") beAlone();
    else if (message.type === "hand over")
      gateway.handOver(message.path).catch((error: unknown) => {
        log("error", "the slots could not be handed over to another gateway", { error: String(error) });
      });
  });
  if (!isSupervised) return;
  rmSync(path, { force: true }); // of a process of this number that was killed
  const takeover = await gateway.openTakeover(path);
  tellSupervisor({ type: "takeover", path });
  const over = new AbortController();
  const tooLate = systemClock.sleep(takeoverWaitMs, over.signal).then(
    () => Promise.reject(new Error("the gateway before this one did not hand over")),
    () => undefined, // it has
  );
  await Promise.race([isAlone, takeover.begun, tooLate]);
  over.abort();
  takeover.close();
}
