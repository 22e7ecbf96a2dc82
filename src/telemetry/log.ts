/**
 * The log of a Berth process: pino's JSON lines, or one short line each where a person looks at a terminal. Goes to
 * standard error, so that standard output stays free for what a command prints. Never given bodies or secrets; fields
 * that could carry one are masked all the same. Lines that report nothing wrong are gathered for a moment: a gateway
 * writes one for each request, and a write costs more than the line.
 */
import { type Logger, pino } from "pino";

export type Log = (
  level: "trace" | "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;

type Fields = Readonly<Record<string, unknown>>;

/** Names of fields that are masked, on their own and within a field. */
const masked = ["token", "secret", "authorization", "password"];
const mask = "(hidden)";

const gatherMs = 50;
/** Gathered lines are written when they are longer than this, in characters. */
const maxGathered = 65_536;

/**
 * @param role process that logs: "control", "gateway" or "serve"
 * @param isTerminal true for short lines instead of JSON
 * @param write must be done when it returns: it is also called while the process ends
 */
export function createLog(options: {
  readonly role: string;
  readonly level: string;
  readonly isTerminal: boolean;
  write(lines: string): void;
}): Log {
  const lines = gatherLines(options.write);
  const destination = { write: (line: string) => lines.add(options.isTerminal ? shorten(line) : line) };
  const logger: Logger = pino({ level: options.level, base: { role: options.role } }, destination);
  return (level, message, fields = {}) => {
    logger[level](withMasks(fields), message);
    // What may be a process's last word is not held back.
    if (level === "warn" || level === "error") lines.flush();
  };
}

function gatherLines(write: (lines: string) => void): { add(line: string): void; flush(): void } {
  let gathered = "";
  let timer: NodeJS.Timeout | null = null;
  const flush = () => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const lines = gathered;
    gathered = "";
    if (lines !== "") write(lines);
  };
  process.on("exit", flush);
  return {
    flush,
    add(line) {
      gathered += line;
      if (gathered.length > maxGathered) flush();
      else timer ??= setTimeout(flush, gatherMs).unref();
    },
  };
}

/** The same fields where there is nothing to mask. */
function withMasks(fields: Fields): Fields {
  const shown = masks(fields);
  let changed: Record<string, unknown> | null = null;
  for (const name of Object.keys(shown)) {
    const value = shown[name];
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    const within = masks(value as Fields);
    if (within === value) continue;
    changed ??= { ...shown };
    changed[name] = within;
  }
  return changed ?? shown;
}

/** Looks for the masked names and not through all fields: a request has dozens, and none of these. */
function masks(fields: Fields): Fields {
  if (!masked.some((name) => Object.hasOwn(fields, name))) return fields;
  const entries = Object.entries(fields);
  return Object.fromEntries(entries.map(([name, value]) => [name, masked.includes(name) ? mask : value]));
}

const levelMarks: Record<number, string> = { 40: "warning: ", 50: "error: ", 60: "error: " };

/** "12:34:56 control  The text. (detail)" from a JSON line. */
function shorten(line: string): string {
  const entry = JSON.parse(line) as {
    time: number;
    level: number;
    role: string;
    msg: string;
    error?: string | null;
  };
  const time = new Date(entry.time).toTimeString().slice(0, 8);
  const detail = typeof entry.error !== "string" ? "" : ` (${entry.error})`;
  return `${time} ${entry.role.padEnd(8)} ${levelMarks[entry.level] ?? ""}${entry.msg}${detail}\n`;
}
