/**
 * The log of a Berth process: pino's JSON lines, or one short line each where a person looks at a terminal. Goes to
 * standard error, so that standard output stays free for what a command prints. Never given bodies or secrets; fields
 * that could carry one are masked all the same.
 */
import { type Logger, pino } from "pino";

export type Log = (
  level: "trace" | "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;

const masked = ["token", "secret", "authorization", "password", "*.token", "*.secret", "*.authorization"];

/**
 * @param role process that logs: "control", "gateway" or "serve"
 * @param isTerminal true for short lines instead of JSON
 */
export function createLog(options: {
  readonly role: string;
  readonly level: string;
  readonly isTerminal: boolean;
  write(line: string): void;
}): Log {
  const destination = { write: (line: string) => options.write(options.isTerminal ? shorten(line) : line) };
  const logger: Logger = pino(
    { level: options.level, base: { role: options.role }, redact: { paths: masked, censor: "(hidden)" } },
    destination,
  );
  return (level, message, fields = {}) => logger[level](fields, message);
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
