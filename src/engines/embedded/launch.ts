/**
 * The launch file: how the engine's adapter tells the server program what to serve. It is a file (mode 0600) and not the
 * command line because it holds the instance's secret. Owns its shape and its check; both sides import it.
 */
import type { Endpoint } from "../../core/instance.ts";

export type LaunchFile = {
  /** Absolute path of the GGUF file, the first one of several shards. */
  readonly modelPath: string;
  /** Names that requests may carry in `model`; the first is the one listed. */
  readonly servedNames: readonly string[];
  /** Requests to serve at once, 1..256. */
  readonly slots: number;
  readonly endpoint: Endpoint;
  readonly secret: string;
  /** Memory for the KV cache, in bytes. */
  readonly contextMemoryBytes: number;
  /** Threads that compute; 0: the cores less one. */
  readonly threads: number;
  readonly extraArgs: readonly string[];
};

/** Throws with a sentence that names the field that is wrong. */
export function parseLaunchFile(text: string): LaunchFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("The launch file is not valid JSON.");
  }
  if (typeof value !== "object" || value === null) throw new Error("The launch file is not a JSON object.");
  const fields = value as Record<string, unknown>;
  return {
    modelPath: textField(fields, "modelPath"),
    servedNames: textsField(fields, "servedNames", 1),
    slots: numberField(fields, "slots", 1, 256),
    endpoint: endpointField(fields),
    secret: textField(fields, "secret"),
    contextMemoryBytes: numberField(fields, "contextMemoryBytes", 1, Number.MAX_SAFE_INTEGER),
    threads: numberField(fields, "threads", 0, 256),
    extraArgs: textsField(fields, "extraArgs", 0),
  };
}

function textField(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value === "") {
    throw new Error(`The launch file's ${name} must be a text that is not empty.`);
  }
  return value;
}

function textsField(fields: Record<string, unknown>, name: string, least: number): string[] {
  const value = fields[name];
  const isFine =
    Array.isArray(value) && value.length >= least && value.every((item) => typeof item === "string");
  if (!isFine) throw new Error(`The launch file's ${name} must be a list of at least ${least} texts.`);
  return value as string[];
}

function numberField(fields: Record<string, unknown>, name: string, min: number, max: number): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new Error(`The launch file's ${name} must be a whole number from ${min} to ${max}.`);
  }
  return value;
}

function endpointField(fields: Record<string, unknown>): Endpoint {
  const value = fields.endpoint;
  if (typeof value === "object" && value !== null) {
    const endpoint = value as Record<string, unknown>;
    if (endpoint.kind === "unix") return { kind: "unix", path: textField(endpoint, "path") };
    if (endpoint.kind === "tcp") {
      return {
        kind: "tcp",
        host: textField(endpoint, "host"),
        port: numberField(endpoint, "port", 1, 65535),
      };
    }
  }
  throw new Error("The launch file's endpoint must be a Unix socket or an address.");
}
