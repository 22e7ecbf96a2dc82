/**
 * Starts what is measured and what measures it, each on its core: Berth's gateway as `berth serve` starts it, nginx as a
 * bare proxy, Portkey's gateway, the engine and the clients (both in C, compiled into a temporary folder). Owns their ends:
 * what was started here is ended here. Must not know what is measured.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gatewayFlags } from "../../src/roles/node-flags.ts";
import peers from "./peers.json" with { type: "json" };

/** Cores: the measured process has one to itself, engine and clients share the others. */
export type Cores = { readonly measured: string; readonly others: string };

export type Measured = {
  readonly name: string;
  readonly port: number;
  /** Processor time it has used so far, of all its threads and workers, in seconds. */
  cpuS(): number;
  /** Memory it has resident, of all its processes, in bytes. */
  residentBytes(): number;
};

const started = new Set<ChildProcess>();

export async function endAll(): Promise<void> {
  await Promise.all(
    [...started].map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      await Promise.race([once(child, "exit"), sleep(3000).then(() => child.kill("SIGKILL"))]);
    }),
  );
}

function start(
  core: string,
  command: string,
  args: string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
) {
  const child = spawn("taskset", ["-c", core, command, ...args], {
    stdio: ["ignore", "pipe", process.env.BENCH_VERBOSE === undefined ? "ignore" : "inherit"],
    ...options,
  });
  started.add(child);
  child.once("exit", () => started.delete(child));
  return child;
}

/** Compiles engine and clients; answers where they are. */
export function compile(folder: string): { upstream: string; load: string } {
  const build = (name: string) => {
    const [source, program] = [join(import.meta.dirname, `${name}.c`), join(folder, name)];
    execFileSync("cc", ["-O2", "-D_GNU_SOURCE", "-o", program, source], { stdio: "inherit" });
    return program;
  };
  return { upstream: build("upstream"), load: build("load") };
}

export async function startUpstream(program: string, { others }: Cores): Promise<number> {
  const child = start(others, program, ["0"]);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  child.stdout.resume();
  return Number(line.toString());
}

/** The gateway of this checkout, as the supervisor would start it, on a home whose control is a stand-in. */
export async function startBerth(
  home: string,
  { measured }: Cores,
  env: NodeJS.ProcessEnv = {},
): Promise<Measured> {
  const port = await freePort();
  const root = join(import.meta.dirname, "../..");
  const args = [...gatewayFlags, join(root, "src/main.ts"), "gateway"];
  const child = start(measured, process.execPath, args, {
    env: { ...process.env, BERTH_HOME: home, BERTH_PORT: String(port), ...env },
  });
  child.stdout.resume();
  await untilAnswers(port, "/readyz", [200]);
  return measuredOf("berth", port, child);
}

export async function startNginx(
  folder: string,
  upstreamPort: number,
  { measured }: Cores,
): Promise<Measured> {
  const port = await freePort();
  const prefix = join(folder, "nginx-run");
  for (const name of ["logs", "tmp"]) mkdirSync(join(prefix, name), { recursive: true });
  const conf = join(prefix, "nginx.conf");
  writeFileSync(conf, nginxConf(prefix, port, upstreamPort));
  const child = start(measured, findNginx(folder), [
    "-p",
    prefix,
    "-c",
    conf,
    "-e",
    join(prefix, "error.log"),
  ]);
  child.stdout.resume();
  await untilAnswers(port, "/", [200, 404, 405, 502]);
  return measuredOf("nginx", port, child);
}

function nginxConf(prefix: string, port: number, upstreamPort: number): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
worker_processes 1;
daemon off;
pid ${prefix}/nginx.pid;
worker_rlimit_nofile 20000;
events { worker_connections 16000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  tcp_nodelay on;
  ${temp.map((name) => `${name}_temp_path ${prefix}/tmp/${name};`).join("\n  ")}
  upstream engine { server 127.0.0.1:${upstreamPort}; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} backlog=16384;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`;
}

/** The system's, else Debian's package, unpacked and not installed. */
function findNginx(folder: string): string {
  const known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].find((path) =>
    existsSync(path),
  );
  if (known !== undefined) return known;
  const unpacked = join(folder, "nginx-package");
  mkdirSync(unpacked, { recursive: true });
  execFileSync("apt-get", ["download", peers.nginx.package], {
    cwd: unpacked,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const archive = readdirSync(unpacked).find((name) => name.endsWith(".deb")) ?? "";
  execFileSync("dpkg-deb", ["-x", join(unpacked, archive), unpacked]);
  return join(unpacked, "usr/sbin/nginx");
}

export async function startPortkey(folder: string, { measured }: Cores): Promise<Measured> {
  const { package: name, version } = peers.portkey;
  const home = join(folder, "portkey");
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "package.json"), "{}");
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", `${name}@${version}`], {
    cwd: home,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const port = await freePort();
  const server = join(home, "node_modules", name, "build/start-server.js");
  const child = start(measured, process.execPath, [server, "--headless", `--port=${port}`], { cwd: home });
  child.stdout.resume();
  await untilAnswers(port, "/", [200]);
  return measuredOf("portkey", port, child);
}

function measuredOf(name: string, port: number, child: ChildProcess): Measured {
  const sum = (read: (pid: number) => number) =>
    familyOf(child.pid ?? 0).reduce((total, pid) => total + read(pid), 0);
  return { name, port, cpuS: () => sum(cpuOfProcess) / 1e9, residentBytes: () => sum(residentOfProcess) };
}

/** The process and its children. */
function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").map(Number))];
}

/** Nanoseconds on a processor, of all threads. */
export function cpuOfProcess(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce(
    (sum, task) => sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]),
    0,
  );
}

export function residentOfProcess(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function untilAnswers(port: number, path: string, statuses: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => null); // not listening yet
    await response?.body?.cancel();
    if (response !== null && statuses.includes(response.status)) return;
    await sleep(100);
  }
  throw new Error(`nothing answered on port ${port}`);
}

export type LoadResult = {
  readonly answers: number;
  readonly errors: number;
  readonly events: number;
  readonly badStreams: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export type Load = {
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second; 0: as fast as answers come. */
  readonly rate: number;
  /** Events of each answer, 0 for whole ones. */
  readonly events: number;
};

/** Runs the clients to their end. */
export async function runLoad(
  program: string,
  requestFile: string,
  port: number,
  { connections, seconds, rate, events }: Load,
  { others }: Cores,
): Promise<LoadResult> {
  const args = [port, requestFile, connections, seconds, rate, events].map(String);
  const child = start(others, program, args);
  let text = "";
  child.stdout.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  await once(child, "close");
  const result = JSON.parse(text) as LoadResult;
  if (result.errors > 0 || result.badStreams > 0) {
    process.stderr.write(`clients saw ${result.errors} errors and ${result.badStreams} bad streams\n`);
  }
  return result;
}
