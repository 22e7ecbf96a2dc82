/**
 * Fills the gaps of a growing file through several connections at once ("lanes"): each takes the next piece, writes it
 * where it belongs, takes up a broken one where it broke, and is replaced when it has become too slow. Owns how one file
 * is divided and when it is given up; how many lanes there may be is told from outside. Knows nothing of HTTP.
 */
import { Hiccup, unreachable, WrongFile } from "./failures.ts";
import { isTooSlow } from "./pace.ts";
import type { Part } from "./part.ts";
import { type Range, RangeSet } from "./ranges.ts";
import { backoffMs, type RetryRule } from "./retry.ts";
import type { OpenFile } from "./source.ts";

export type LaneLimits = {
  /** Largest piece that is asked for at once, bytes: what a broken connection or a killed process can cost. */
  readonly chunkBytes: number;
  /** Smaller pieces are not worth a connection of their own, bytes. */
  readonly minChunkBytes: number;
  /** A connection below this is replaced, bytes per second. */
  readonly floorBytesPerS: number;
  /** Over which time a connection's rate is judged, milliseconds. */
  readonly slowWindowMs: number;
};

/** How many lanes this download may have, as decided for all downloads together. */
export type Share = {
  /** At least 1. */
  width(): number;
  /** Calls `listener` whenever the width has changed; returns the function that ends that. */
  watch(listener: () => void): () => void;
  /** So many lanes would have something to do. */
  want(lanes: number): void;
  /** The server asked for less, or broke off. */
  pushBack(): void;
};

export type Filling = {
  readonly part: Part;
  readonly open: OpenFile;
  /** Who is said to have failed. */
  readonly host: string;
  readonly rule: RetryRule;
  readonly limits: LaneLimits;
  readonly share: Share;
  /** Throws when the disk has become too full; called now and then. */
  readonly requireRoom: () => Promise<void>;
};

/** Bytes that a try must bring for the count of tries to begin anew: a bad line may be slow, but it must get on. */
const worthwhileBytes = 1024 * 1024;
/** How many bytes of a lane are written between two entries in the record. */
const landEveryBytes = 2 * 1024 * 1024;
const tickMs = 200;
const roomCheckBytes = 64 * 1024 * 1024;

/** A connection at work. */
type Lane = {
  readonly end: number;
  readonly abort: AbortController;
  at: number;
  landed: number;
  /** Bytes are coming; until then only the client's own deadlines count. */
  isOpen: boolean;
  /** Where it was at each tick of the window. */
  readonly marks: { readonly atMs: number; readonly at: number }[];
};

/** The source gave the whole file where a range was asked for. */
class WholeOnly extends Error {}

/** Resolves when the file has no gaps; throws HubError, WrongFile, or the signal's reason. */
export async function fillGaps(job: Filling, signal: AbortSignal): Promise<void> {
  try {
    await new Lanes(job, signal).run();
  } catch (error) {
    if (!(error instanceof WholeOnly)) throw error;
    await fillFromStart(job, signal);
  }
}

/** Without ranges every try brings everything from the beginning; what is there already is skipped, not written again. */
async function fillFromStart(job: Filling, signal: AbortSignal): Promise<void> {
  const { part, rule, host } = job;
  const { bytes } = part.file;
  for (let failed = 0; part.done.bytes < bytes; ) {
    const before = part.done.bytes;
    try {
      const opened = await job.open(part.file, { start: 0, end: bytes }, signal);
      let position = opened.offset;
      let roomCheck: Promise<unknown> = Promise.resolve();
      await opened.read((chunk) => {
        signal.throwIfAborted();
        const end = position + chunk.byteLength;
        if (end > bytes) throw new WrongFile(`it is longer than ${bytes} bytes`);
        storeGaps(part, chunk, position);
        if (Math.floor(end / roomCheckBytes) > Math.floor(position / roomCheckBytes)) {
          roomCheck = job.requireRoom();
          roomCheck.catch(() => undefined);
        }
        position = end;
        return true;
      });
      await roomCheck;
      if (part.done.bytes < bytes) throw new Hiccup("ended the transfer early");
    } catch (error) {
      if (!(error instanceof Hiccup)) throw error;
      failed = part.done.bytes - before >= worthwhileBytes ? 1 : failed + 1;
      if (failed >= rule.attempts) throw unreachable(host, error.message, failed);
      await rule.clock.sleep(backoffMs(rule, failed, error), signal);
    }
  }
}

/** Writes what of `chunk`, which begins at `position`, is not there yet. */
function storeGaps(part: Part, chunk: Uint8Array, position: number): void {
  for (const gap of part.done.gaps(position + chunk.byteLength)) {
    const start = Math.max(gap.start, position);
    if (start >= gap.end) continue;
    part.write(chunk.subarray(start - position, gap.end - position), start);
    part.land({ start, end: gap.end }, gap.end - start);
  }
}

class Lanes {
  readonly #job: Filling;
  readonly #part: Part;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** On disk or being fetched. */
  readonly #taken: RangeSet;
  readonly #lanes = new Set<Lane>();
  readonly #finished = Promise.withResolvers<void>();
  #workers = 0;
  #pause: Promise<unknown> = Promise.resolve();
  /** Written since the room on the disk was last looked at. */
  #uncheckedBytes = 0;
  #roomCheck: Promise<unknown> = Promise.resolve();

  constructor(job: Filling, signal: AbortSignal) {
    this.#job = job;
    this.#part = job.part;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#taken = new RangeSet(job.part.done.list());
  }

  async run(): Promise<void> {
    const unwatch = this.#job.share.watch(() => this.#spawn());
    const ticker = setInterval(() => this.#tick(), tickMs);
    try {
      this.#spawn();
      if (this.#workers > 0) await this.#finished.promise;
      await this.#roomCheck;
      this.#signal.throwIfAborted();
    } finally {
      clearInterval(ticker);
      unwatch();
    }
  }

  /** Starts workers until there are as many as there may be and as there is work for. */
  #spawn(): void {
    const size = this.#part.file.bytes;
    const left = size - this.#taken.bytes;
    const { share, limits } = this.#job;
    share.want(Math.max(1, this.#workers + Math.ceil(left / limits.minChunkBytes)));
    while (!this.#signal.aborted && this.#workers < share.width()) {
      const piece = this.#take();
      if (piece === null) break;
      this.#workers += 1;
      void this.#work(piece);
    }
  }

  /** Never rejects: the first error stops the others and is the signal's reason from then on. */
  async #work(first: Range): Promise<void> {
    try {
      let piece: Range | null = first;
      while (piece !== null) {
        await this.#fetch(piece);
        piece = this.#workers > this.#job.share.width() ? null : this.#take();
      }
    } catch (error) {
      this.#stop.abort(error);
    }
    this.#workers -= 1;
    this.#spawn();
    if (this.#workers === 0) this.#finished.resolve();
  }

  /** Pieces get smaller towards the end, so that all lanes end together. */
  #take(): Range | null {
    const size = this.#part.file.bytes;
    const { chunkBytes, minChunkBytes } = this.#job.limits;
    const left = size - this.#taken.bytes;
    const fair = Math.ceil(left / (2 * this.#job.share.width()));
    const piece = this.#taken.firstGap(size, Math.min(chunkBytes, Math.max(minChunkBytes, fair)));
    if (piece !== null) this.#taken.add(piece);
    return piece;
  }

  /** Brings one piece, with as many connections one after the other as it takes. */
  async #fetch(piece: Range): Promise<void> {
    const { rule, host, share } = this.#job;
    let failed = 0;
    let doneAtFailure = this.#part.done.bytes;
    for (let at = piece.start; at < piece.end; ) {
      await this.#pause;
      this.#signal.throwIfAborted();
      const lane = startLane(at, piece.end);
      this.#lanes.add(lane);
      try {
        await this.#receive(lane);
      } catch (error) {
        if (!(error instanceof Hiccup)) throw error;
        this.#part.suspect({ start: at, end: lane.at });
        const isReplaced = lane.abort.signal.aborted && lane.at > at;
        const gained = this.#part.done.bytes + lane.at - lane.landed - doneAtFailure;
        failed = gained >= worthwhileBytes || isReplaced ? 1 : failed + 1;
        doneAtFailure = this.#part.done.bytes + lane.at - lane.landed;
        if (failed >= rule.attempts) throw unreachable(host, error.message, failed);
        if (!isReplaced) share.pushBack();
        await this.#wait(isReplaced ? 0 : backoffMs(rule, failed, error), error.retryAfterMs !== null);
      } finally {
        this.#lanes.delete(lane);
        this.#land(lane);
      }
      at = lane.at;
    }
  }

  /** A server that names a time means everybody: no lane asks it before. */
  async #wait(ms: number, forAll: boolean): Promise<void> {
    if (ms === 0) return;
    const wait = this.#job.rule.clock.sleep(ms, this.#signal);
    if (forAll) this.#pause = Promise.all([this.#pause, wait]).catch(() => undefined);
    await wait;
  }

  /** One connection's worth of bytes, at most to the end of the lane's piece. */
  async #receive(lane: Lane): Promise<void> {
    const { file } = this.#part;
    const signal = AbortSignal.any([this.#signal, lane.abort.signal]);
    const opened = await this.#job.open(file, { start: lane.at, end: lane.end }, signal);
    if (opened.bytesTotal !== null && opened.bytesTotal !== file.bytes) {
      opened.close();
      throw new WrongFile(`it is ${opened.bytesTotal} bytes long instead of ${file.bytes}`);
    }
    if (opened.offset !== lane.at) {
      opened.close();
      if (opened.offset === 0) throw new WholeOnly();
      throw new Hiccup("answered with another range than was asked for");
    }
    lane.isOpen = true;
    await opened.read((bytes) => {
      signal.throwIfAborted();
      if (lane.at + bytes.byteLength > file.bytes)
        throw new WrongFile(`it is longer than ${file.bytes} bytes`);
      // A source that ignores the end of a range has more to say than this lane wants to hear.
      const isTooMuch = lane.at + bytes.byteLength > lane.end;
      this.#store(lane, bytes.subarray(0, lane.end - lane.at));
      return !isTooMuch;
    });
    if (lane.at < lane.end) throw new Hiccup("ended the transfer early");
  }

  #store(lane: Lane, bytes: Uint8Array): void {
    this.#part.write(bytes, lane.at);
    lane.at += bytes.byteLength;
    if (lane.at - lane.landed >= landEveryBytes) this.#land(lane);
    this.#uncheckedBytes += bytes.byteLength;
    if (this.#uncheckedBytes < roomCheckBytes) return;
    this.#uncheckedBytes = 0;
    this.#roomCheck = this.#job.requireRoom().catch((error: unknown) => this.#stop.abort(error));
  }

  #land(lane: Lane): void {
    if (lane.at === lane.landed) return;
    this.#part.land({ start: lane.landed, end: lane.at }, lane.at - lane.landed);
    lane.landed = lane.at;
  }

  /** Records what has arrived, and finds connections that should be replaced. */
  #tick(): void {
    const nowMs = performance.now();
    const { floorBytesPerS, slowWindowMs } = this.#job.limits;
    const rates = new Map<Lane, number>();
    for (const lane of this.#lanes) {
      try {
        this.#land(lane);
      } catch (error) {
        this.#stop.abort(error);
      }
      if (!lane.isOpen) continue;
      lane.marks.push({ atMs: nowMs, at: lane.at });
      while (lane.marks.length > 1 && nowMs - (lane.marks[1]?.atMs ?? nowMs) >= slowWindowMs)
        lane.marks.shift();
      const oldest = lane.marks[0];
      if (oldest === undefined || nowMs - oldest.atMs < slowWindowMs) continue;
      rates.set(lane, ((lane.at - oldest.at) * 1000) / (nowMs - oldest.atMs));
    }
    for (const [lane, rate] of rates) {
      const others = [...rates].flatMap(([other, value]) => (other === lane ? [] : [value]));
      if (isTooSlow(rate, others, floorBytesPerS)) lane.abort.abort(new Hiccup("was too slow"));
    }
  }
}

function startLane(start: number, end: number): Lane {
  return { end, abort: new AbortController(), at: start, landed: start, isOpen: false, marks: [] };
}
