/**
 * Keeps what requests used until control has stored it: records are appended to segments on disk within a moment, synced
 * within a second, delivered in batches, and removed when control has said yes. What an earlier gateway left behind is
 * delivered too; control counts each record once. A request never waits for any of this. Bounded: when control stays away
 * for too long the oldest segments are given up, loudly. Must not hold prompts, answers or secrets: a record has none.
 */
import { Agent } from "node:http";
import type { UsageRecord } from "../core/usage.ts";
import { usageRecord } from "../schema/routing.ts";
import { ControlRefused, postToControl } from "./link-post.ts";
import type { Clock, Log } from "./options.ts";
import { type ClosedSegment, type OpenSegment, openSpoolFolder, type SpoolFolder } from "./spool-folder.ts";

export type SpoolOptions = {
  /** Names this gateway's folder. */
  readonly gatewayId: string;
  /** Folder of all gateways' spools. */
  readonly root: string;
  readonly linkSocket: string;
  /** Most bytes of all segments that wait. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Log;
};

export type Spool = {
  start(): void;
  /** Returns at once; the record is on disk within a tenth of a second. */
  add(record: UsageRecord): void;
  /** Records that were given up since the start, because of the bound or a disk that refused them. */
  readonly dropped: number;
  /** Bytes on disk that wait for control, of every gateway. */
  waitingBytes(): Promise<number>;
  /** Writes, syncs and, where control is there, delivers what is left. */
  stop(): Promise<void>;
};

/** Short, so that records are gone from memory before they count as old there: collecting those is dearer. */
const writeEveryMs = 50;
const syncEveryMs = 800;
/** A pause between deliveries, so that few records do not make many of them. */
const deliverEveryMs = 500;
const firstRetryMs = 200;
const maxRetryMs = 5_000;
/** How often it is looked whether another gateway has left something. */
const adoptEveryMs = 15_000;
const postTimeoutMs = 20_000;
/** Time for the last delivery when the gateway stops. */
const farewellMs = 3_000;
/** Records in one segment, which is one batch. */
const segmentRecords = 1000;
/** Records held in memory while the disk refuses them, or does not keep up; some 1 KB each. */
const maxHeld = 50_000;

export function createSpool(options: SpoolOptions): Spool {
  const { clock, log } = options;
  const folder = openSpoolFolder(options.root, options.gatewayId);
  const writer = createWriter(folder, options);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const stopping = new AbortController();
  /** Aborted when a stop has waited for control long enough. */
  const farewell = new AbortController();
  let running: Promise<void> | null = null;
  let isAway = false;

  /** Delivers until nothing closed is left. Throws when control does not take it. */
  async function deliverAll(): Promise<void> {
    for (const segment of await folder.closed(clock.now())) await deliver(segment);
  }

  async function deliver(segment: ClosedSegment): Promise<void> {
    // A last line without its end was cut off by a kill: it never counted as written.
    const lines = (await folder.read(segment))?.split("\n").slice(0, -1) ?? [];
    try {
      // An earlier gateway may have been of another version.
      await post(segment.isOwn ? lines : readable(segment, lines));
    } catch (error) {
      // One bad record must not hold up all behind it for ever.
      if (!(error instanceof ControlRefused && error.status === 400 && segment.isOwn)) throw error;
      await post(readable(segment, lines));
    }
    await folder.remove(segment);
  }

  async function post(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    // The lines are JSON already: a batch is a list of them (core/routing's RecordBatch).
    const body = `{"gatewayId":${JSON.stringify(options.gatewayId)},"records":[${lines.join(",")}]}`;
    await postToControl({
      ...{ linkSocket: options.linkSocket, agent, path: "/records", body },
      ...{ timeoutMs: postTimeoutMs, signal: farewell.signal },
    });
  }

  function readable({ path }: ClosedSegment, lines: readonly string[]): string[] {
    const good = lines.filter(isRecord);
    const broken = lines.length - good.length;
    if (broken > 0) log("error", "lines of the spool cannot be read and are given up", { path, broken });
    writer.dropped += broken;
    return good;
  }

  async function deliverForEver(): Promise<void> {
    let retryMs = firstRetryMs;
    let adoptAtMs = 0;
    while (!stopping.signal.aborted) {
      let pauseMs = deliverEveryMs;
      try {
        if (clock.now() >= adoptAtMs) {
          await folder.adopt(clock.now());
          adoptAtMs = clock.now() + adoptEveryMs;
        }
        // While control is away a segment grows until it is full: one a second would be many.
        if (!isAway) await writer.closeSegment();
        await deliverAll();
        if (isAway) log("info", "control takes records of usage again", {});
        isAway = false;
        retryMs = firstRetryMs;
      } catch (error) {
        if (!isAway)
          log("warn", "records of usage wait on disk: control does not take them", { error: String(error) });
        isAway = true;
        pauseMs = retryMs;
        retryMs = Math.min(maxRetryMs, retryMs * 2);
      }
      await clock.sleep(pauseMs, stopping.signal).catch(() => undefined); // aborted: the loop's condition ends it
    }
  }

  return {
    start() {
      running ??= deliverForEver();
    },
    add: (record) => writer.add(record),
    get dropped() {
      return writer.dropped;
    },
    async waitingBytes() {
      const closed = await folder.closed(clock.now());
      return closed.reduce((sum, { bytes }) => sum + bytes, writer.openBytes);
    },
    async stop() {
      stopping.abort(new Error("the gateway stops"));
      const timer = setTimeout(() => farewell.abort(new Error("the gateway stops")), farewellMs);
      await running;
      await writer.stop();
      await deliverAll().catch((error: unknown) =>
        log("info", "the last records of usage wait on disk for the next gateway", { error: String(error) }),
      );
      clearTimeout(timer);
      agent.destroy();
      await folder.leave();
    },
  };
}

function isRecord(line: string): boolean {
  try {
    return usageRecord.safeParse(JSON.parse(line)).success;
  } catch {
    return false; // no JSON: the caller counts it and says so
  }
}

type Writer = {
  dropped: number;
  /** Bytes of the segment that is being written. */
  readonly openBytes: number;
  add(record: UsageRecord): void;
  /** What was added so far is in a closed segment afterwards. */
  closeSegment(): Promise<void>;
  stop(): Promise<void>;
};

/** Appends what was added, one thing at a time. */
function createWriter(folder: SpoolFolder, { clock, log, maxBytes }: SpoolOptions): Writer {
  let held: UsageRecord[] = [];
  let segment: { readonly file: OpenSegment; records: number } | null = null;
  let timer: NodeJS.Timeout | null = null;
  let unsyncedSinceMs: number | null = null;
  let turn: Promise<void> = Promise.resolve();
  let isDiskSick = false;
  /** Records that found no room since the disk last took some. */
  let turnedAway = 0;

  function inTurn(work: () => Promise<void>): Promise<void> {
    const mine = turn.then(work);
    turn = mine.catch(refused);
    return mine;
  }

  async function refused(error: unknown): Promise<void> {
    if (!isDiskSick)
      log("error", "the spool cannot be written; records of usage stay in memory", { error: String(error) });
    isDiskSick = true;
    if (held.length > maxHeld) drop(held.splice(0, held.length - maxHeld).length, "the disk refuses them");
    // A torn line may be at its end: nothing more goes there.
    const torn = segment;
    segment = null;
    plan();
    await torn?.file.close().catch(() => undefined); // what cannot be renamed is found by the next gateway
  }

  function drop(records: number, why: string): void {
    writer.dropped += records;
    log("error", "records of usage are lost", { records, why });
  }

  function plan(): void {
    timer ??= setTimeout(() => {
      timer = null;
      void inTurn(write).catch(() => undefined); // `refused` has said it
    }, writeEveryMs);
  }

  async function write(): Promise<void> {
    while (held.length > 0) {
      const batch = held.slice(0, segmentRecords - (segment?.records ?? 0));
      segment ??= { file: await folder.openSegment(), records: 0 };
      const isKept = await segment.file.append(batch.map((record) => `${JSON.stringify(record)}\n`).join(""));
      if (!isKept) {
        segment = null;
        continue;
      }
      isDiskSick = false;
      if (turnedAway > 0) drop(turnedAway, "the disk does not keep up");
      turnedAway = 0;
      unsyncedSinceMs ??= clock.now();
      held = held.slice(batch.length);
      segment.records += batch.length;
      if (segment.records >= segmentRecords) await close();
    }
    if (unsyncedSinceMs === null || segment === null) return;
    if (clock.now() - unsyncedSinceMs >= syncEveryMs) {
      await segment.file.sync();
      unsyncedSinceMs = null;
    } else plan();
  }

  async function close(): Promise<void> {
    const closing = segment;
    segment = null;
    unsyncedSinceMs = null;
    await closing?.file.close();
    await keepWithin();
  }

  /** Gives up the oldest segments beyond the bound. */
  async function keepWithin(): Promise<void> {
    const closed = await folder.closed(clock.now());
    let bytes = closed.reduce((sum, each) => sum + each.bytes, 0);
    for (const oldest of closed) {
      if (bytes <= maxBytes) return;
      const records = (await folder.read(oldest))?.split("\n").length ?? 1;
      await folder.remove(oldest);
      bytes -= oldest.bytes;
      drop(
        records - 1,
        `more than ${maxBytes} bytes wait; raise BERTH_SPOOL_MB, or see why control does not take them`,
      );
    }
  }

  const writer: Writer = {
    dropped: 0,
    get openBytes() {
      return segment?.file.bytes ?? 0;
    },
    add(record) {
      if (held.length < maxHeld) held.push(record);
      else turnedAway += 1;
      plan();
    },
    closeSegment: () =>
      inTurn(async () => {
        await write();
        if (segment !== null) await close();
      }),
    async stop() {
      await writer.closeSegment().catch(() => undefined); // `refused` has said it
      if (timer !== null) clearTimeout(timer);
      const lost = held.length + turnedAway;
      if (lost > 0) drop(lost, "the disk refuses them and the gateway stops");
    },
  };
  return writer;
}
