/**
 * The progress line of a deployment that is coming up: `progressLine` turns what is known into text (pure), and
 * `createProgressDisplay` puts it on a stream: one line that is redrawn on a terminal, an occasional line elsewhere.
 * Must not ask a server; `follow.ts` does.
 */
import type { Writable } from "node:stream";
import { formatBytes, formatDuration } from "./amounts.ts";
import { plain } from "./terminal.ts";

export type ProgressView = {
  /** The API's status, for example "downloading". */
  readonly status: string;
  /** Null while nothing is being downloaded. */
  readonly download: {
    readonly bytesDone: number;
    readonly bytesTotal: number;
    readonly bytesPerS: number;
    /** Seconds, null when it cannot be told. */
    readonly etaS: number | null;
  } | null;
  /** Seconds since following began. */
  readonly elapsedS: number;
  /** What happened last, "" when nothing is known. */
  readonly detail: string;
};

const barWidth = 20;
const statusWidth = "initializing".length;

/** One line of at most `columns` characters. `hasBar` is for terminals. */
export function progressLine(view: ProgressView, columns: number, hasBar: boolean): string {
  const parts = [plain(view.status).padEnd(statusWidth)];
  if (view.download === null || view.status !== "downloading") {
    parts.push(formatDuration(Math.floor(view.elapsedS)).replace(".0", "").padStart(5), plain(view.detail));
  } else {
    const { bytesDone, bytesTotal, bytesPerS, etaS } = view.download;
    const percent = percentDone(view) ?? 0;
    parts.push(`${percent}%`.padStart(5));
    if (hasBar) {
      const full = Math.floor((percent / 100) * barWidth);
      parts.push("━".repeat(full) + "─".repeat(barWidth - full));
    }
    parts.push(`${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
    parts.push(bytesPerS > 0 ? `${formatBytes(bytesPerS)}/s` : "waiting for data");
    if (etaS !== null && bytesPerS > 0)
      parts.push(`${formatDuration(Math.ceil(etaS)).replace(".0", "")} left`);
  }
  return clip(parts.join("  ").trimEnd(), columns);
}

/** 0..100, never 100 before the last byte; null while nothing is being downloaded. */
export function percentDone(view: ProgressView): number | null {
  if (view.download === null || view.status !== "downloading") return null;
  const { bytesDone, bytesTotal } = view.download;
  if (bytesTotal <= 0) return 0;
  return Math.min(100, Math.floor((bytesDone / bytesTotal) * 100));
}

/** Whether a stream that is no terminal gets a line: on another status, every ten per cent, and every 15 seconds. */
export function isWorthALine(printed: ProgressView | null, view: ProgressView): boolean {
  if (printed === null || printed.status !== view.status) return true;
  if (view.elapsedS - printed.elapsedS >= 15) return true;
  const before = percentDone(printed);
  const now = percentDone(view);
  if (before === null || now === null) return before !== now;
  return Math.floor(before / 10) !== Math.floor(now / 10);
}

function clip(line: string, columns: number): string {
  const chars = [...line];
  return chars.length <= columns ? line : `${chars.slice(0, Math.max(0, columns - 1)).join("")}…`;
}

export type ProgressDisplay = {
  show(view: ProgressView): void;
  /** Takes the line away, so that other text can follow. */
  clear(): void;
};

/** @param stream where progress goes, standard error as a rule; `isTTY` and `columns` are read at every drawing */
export function createProgressDisplay(
  stream: Writable & { readonly isTTY?: boolean; readonly columns?: number },
): ProgressDisplay {
  let printed: ProgressView | null = null;
  let isDrawn = false;
  return {
    show(view) {
      if (stream.isTTY === true) {
        // One column stays free: terminals wrap when the last one is written. A terminal without a size says 0.
        stream.write(`\r\u001b[2K${progressLine(view, (stream.columns || 80) - 1, true)}`);
        isDrawn = true;
      } else if (isWorthALine(printed, view)) {
        stream.write(`${progressLine(view, 200, false)}\n`);
        printed = view;
      }
    },
    clear() {
      if (isDrawn) stream.write("\r\u001b[2K");
      isDrawn = false;
    },
  };
}
