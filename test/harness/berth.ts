/**
 * Starts a real Berth (supervisor, control, gateway, engines) on a free port with a state of its own, and looks at it
 * only as an outsider can: over HTTP, and by the process table.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

// Who starts a Berth waits for something of it.
export { until };

const root = new URL("../..", import.meta.url).pathname;
export const token = "test-token-0123456789abcdef";

/** What the tests look at in answers; every field is there only in the answers that have it. */
export type Body = {
  readonly deploy_id: string;
  readonly model_name: string;
  readonly status: string;
  readonly fail_reason: string;
  readonly version: string;
  readonly token: string;
  /** Of a job of the hub. */
  readonly id: string;
  readonly state: string;
  readonly instances: { readonly running: number; readonly pending: number };
  readonly config: { readonly weights: unknown };
  readonly events: readonly { readonly code: string; readonly text: string; readonly next: string }[];
  readonly progress: { readonly bytes_done: number } | null;
  readonly error: { readonly message: string };
};

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
  /** The body as it came, parsed. */
  readonly raw: unknown;
};

export type Berth = {
  readonly url: string;
  readonly home: string;
  readonly process: ChildProcess;
  /** Everything printed so far. */
  output(): string;
  /** Calls the API as the first account, or with another token; null sends none. */
  call(method: string, path: string, body?: unknown, as?: string | null): Promise<Answer>;
  /** The ids that GET /deploy/list shows. */
  listIds(query?: string, as?: string): Promise<string[]>;
  /** Process ids of a role: "control", "gateway", "engine". */
  pids(role: "control" | "gateway" | "engine"): number[];
  /** Ends everything, engines too, and removes the state. */
  end(): Promise<void>;
};

/** Everything of the environment a Berth under test must not inherit is left out. */
function cleanEnvironment(extra: Record<string, string>): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(BERTH_|HF_|DATABASE_URL|HUGGING)/.test(name),
  );
  return { ...(Object.fromEntries(kept) as Record<string, string>), ...extra };
}

export async function startBerth(
  options: {
    env?: Record<string, string>;
    home?: string;
    readyWithinMs?: number;
    /** Folder of another copy of the code. */
    code?: string;
  } = {},
): Promise<Berth> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), "berth-test-"));
  const addressFile = join(home, "address");
  // An earlier Berth on this home may have left its own.
  rmSync(addressFile, { force: true });
  const env = cleanEnvironment({
    BERTH_HOME: home,
    BERTH_PORT: "0",
    BERTH_API_TOKEN: token,
    BERTH_ACCOUNT: "first",
    HF_ENDPOINT: "http://127.0.0.1:9",
    BERTH_DRAIN_S: "60",
    // What else the machine has must not change what a test sees.
    ...{ BERTH_LLAMA_SERVER: "off", BERTH_VLLM: "off", BERTH_CONTAINER_RUNTIME: "off" },
    ...options.env,
  });
  const main = join(options.code ?? root, "src/main.ts");
  const child = spawn(process.execPath, [main, "serve"], { env, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += String(chunk)));
  child.stderr.on("data", (chunk) => (printed += String(chunk)));
  const url = await until(
    "Berth to be ready",
    async () => {
      if (child.exitCode !== null) throw new Error(`Berth ended with ${child.exitCode}:\n${printed}`);
      const address = readAddress(addressFile);
      return address !== null && (await isReady(address)) && address;
    },
    options.readyWithinMs ?? 120_000,
  ).catch((error) => {
    child.kill("SIGKILL");
    if (options.home === undefined) rmSync(home, { recursive: true, force: true });
    throw new Error(`${String(error)}\n${printed}`);
  });

  const berth: Berth = {
    url,
    home,
    process: child,
    output: () => printed,
    async call(method, path, body, as = token) {
      const response = await fetch(url + path, {
        method,
        headers: as === null ? {} : { authorization: `Bearer ${as}` },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      let parsed: unknown = text;
      try {
        parsed = JSON.parse(text);
      } catch {
        // not JSON: the text itself is the answer
      }
      return { status: response.status, headers: response.headers, body: parsed as Body, raw: parsed };
    },
    async listIds(query = "", as = token) {
      const { raw } = await berth.call("GET", `/deploy/list${query}`, undefined, as);
      return (raw as Body[]).map((one) => one.deploy_id);
    },
    pids: (role) => findPids(home, child.pid ?? -1, role),
    async end() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await new Promise((resolve) => child.once("exit", resolve));
      }
      await until("engines gone after the end of the test", () => {
        const pids = findPids(home, -1, "engine");
        for (const pid of pids) process.kill(pid, "SIGKILL");
        return pids.length === 0;
      });
      if (options.home === undefined) rmSync(home, { recursive: true, force: true });
    },
  };
  return berth;
}

/** Where Berth is, once it has written that. */
function readAddress(file: string): string | null {
  try {
    return readFileSync(file, "utf8").trim() || null;
  } catch {
    return null; // not written yet
  }
}

export async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).status === 200;
  } catch {
    return false;
  }
}

/** Living processes of one Berth, found in /proc: roles by parent, engines by the home that they run in. */
function findPids(home: string, supervisor: number, role: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
        if (stat[0] === "Z") return false;
        const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        // Without root, what shuts an engine in stays as its parent.
        if (role === "engine")
          return args[0] !== "unshare" && args.some((arg) => arg.startsWith(`${home}/instances/`));
        return Number(stat[1]) === supervisor && args.includes(role);
      } catch {
        return false; // ended while we looked
      }
    });
}

/** Waits until the deployment has one of the statuses and returns it. */
export async function untilStatus(berth: Berth, id: string, ...wanted: string[]): Promise<Body> {
  let last: unknown;
  return await until(`deployment ${id} to be ${wanted.join(" or ")}`, async () => {
    const { body } = await berth.call("GET", `/deploy/${id}`);
    last = body;
    return wanted.includes(body.status) ? body : false;
  }).catch((error) => {
    throw new Error(`${String(error)}; it is ${JSON.stringify(last)}`);
  });
}
