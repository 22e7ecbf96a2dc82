/**
 * Calls the container runtime's command: one question, one answer, within a time. Its daemon may hang, be stopped or be away, and
 * nothing of Berth may wait for it without end. Knows nothing of what is asked.
 */
import { execFile } from "node:child_process";

export type Answer = {
  readonly isOk: boolean;
  readonly stdout: string;
  /** What it said of the failure; also when it was given up, or is not there at all. */
  readonly said: string;
};

/** Daemons answer within milliseconds; one that pulls or removes much takes longer. */
const answerMs = 30_000;

/** Where a client finds its daemon, its storage and its logins. Nothing else of Berth's environment is its business. */
const clientVariables = [
  ...[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
  ],
  ...["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"],
  ...["CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "DBUS_SESSION_BUS_ADDRESS"],
] as const;

export function clientEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    clientVariables.flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Never rejects. */
export function callRuntime(
  program: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  timeoutMs = answerMs,
): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(
      program,
      [...args],
      // SIGTERM would be handed on or waited for; what is late is given up.
      {
        ...{ timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: 2 ** 22 },
        env: clientEnvironment(environment),
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ isOk: true, stdout, said: stderr });
        const isLate = error.killed === true && error.signal === "SIGKILL";
        const why = isLate ? `gave no answer within ${timeoutMs / 1000} s` : stderr.trim() || error.message;
        resolve({ isOk: false, stdout, said: why });
      },
    );
  });
}
