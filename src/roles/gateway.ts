/**
 * Wires the process that owns the public port. Flat, decides nothing.
 */

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { membersOf } from "../core/gateway-view.ts";
import { createGateway, type Gateway } from "../gateway/server.ts";
import { createSpool } from "../gateway/spool.ts";
import { usageRecordOf } from "../gateway/usage-record.ts";
import { readTls } from "../settings-files.ts";
import { listed } from "../settings-kinds.ts";
import {
  answerSupervisor,
  endAfterSuccessor,
  followPortShare,
  onSupervisorMessage,
  sharedFd,
  tellSupervisor,
} from "../supervisor/child.ts";
import type { View } from "../supervisor/message.ts";
import { connectionsWithin, openFilesLimit } from "../supervisor/open-files.ts";
import { systemClock } from "../telemetry/clock.ts";
import { loadSettings, openLog, sockets } from "./process.ts";

/** Longest that the port of a gateway that is started again stays unread while control gives no routes. */
const routesWaitMs = 5000;
/** The others are heard within milliseconds; one that hangs is killed by the supervisor before this is over. */
const settleWaitMs = 30_000;

/**
 * The process that owns the public port.
 * @param isShared the supervisor holds the port, for this process and its successor
 */
export async function runGateway(isShared: boolean): Promise<void> {
  const settings = loadSettings();
  const log = openLog("gateway", settings);
  const { directory, api, link } = sockets(settings);
  const gatewayId = randomUUID();
  const self = String(process.pid);
  const areMany = settings.BERTH_GATEWAY_PROCESSES > 1;
  const path = join(directory, `gateway-${self}.sock`);
  const spool = createSpool({
    ...{ gatewayId, linkSocket: link, clock: systemClock, log },
    root: join(settings.BERTH_HOME, "spool"),
    maxBytes: settings.BERTH_SPOOL_MB * 1_000_000,
  });
  const onRoom = (hasRoom: boolean) => void tellSupervisor({ type: "room", hasRoom });
  let records = 0;
  const gateway = createGateway({
    gatewayId,
    linkSocket: link,
    apiSocket: api,
    host: settings.BERTH_HOST,
    port: settings.BERTH_PORT,
    ...(isShared && { listenFd: sharedFd, shared: { self, path, areMany, onRoom } }),
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
  const others = isShared ? await meetOthers(gateway, self, path) : null;
  // Clients of a held port wait meanwhile; they would only be told that there are no routes yet.
  if (others !== null) {
    await (others.areThere ? others.joined : Promise.race([others.joined, systemClock.sleep(routesWaitMs)]));
  }
  const { host, port } = await gateway.start();
  // Before, it answers, but only with 503.
  await (others === null ? gateway.routed : others.joined);
  followPortShare(gateway.port);
  tellSupervisor({ type: "ready", details: { host, port: String(port), pid: self } });
  answerSupervisor();
}

/** Learns which processes share the port and the slots, and joins them once there are routes: what it then owns it must know. */
async function meetOthers(
  gateway: Gateway,
  self: string,
  path: string,
): Promise<{ readonly areThere: boolean; readonly joined: Promise<void> }> {
  const { promise: first, resolve } = Promise.withResolvers<View>();
  const isSupervised = onSupervisorMessage((message) => {
    if (message.type !== "view") return;
    resolve(message.view);
    const { version, processes } = message.view;
    if (!processes.some(({ id }) => id === self)) return;
    gateway.enter({ version, members: membersOf(processes) });
    tellSupervisor({ type: "entered", version });
  });
  if (!isSupervised) throw new Error("a gateway that shares its port must be started by `berth serve`");
  const join = async () => {
    await gateway.routed;
    await gateway.openToPeers();
    tellSupervisor({ type: "join", path });
    await settledInTime(gateway);
  };
  const { processes } = await first;
  return { areThere: processes.length > 0, joined: join() };
}

async function settledInTime(gateway: Gateway): Promise<void> {
  const over = new AbortController();
  const tooLate = systemClock.sleep(settleWaitMs, over.signal).then(
    () => Promise.reject(new Error("the other gateway processes could not be heard")),
    () => undefined, // they have been
  );
  await Promise.race([gateway.settled, tooLate]);
  over.abort();
}
