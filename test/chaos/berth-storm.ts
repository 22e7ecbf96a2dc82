/**
 * A real Berth under load while its own processes and its engines are killed and stopped at random. Owns the run: who
 * asks, what is struck when, and what must be true once it is quiet again, seen from outside alone.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Berth, isReady, startBerth, token, until } from "../harness/berth.ts";
import { findSteadyPort } from "../harness/steady-port.ts";
import { KeepingClient } from "./client.ts";
import { pick, seededRandom } from "./tasks.ts";

export type BerthStormOptions = {
  readonly seed: number;
  readonly minutes: number;
  /** Time between two strikes, milliseconds: shortest and longest. */
  readonly pauseMs: readonly [number, number];
  /** Strikes between two times of rest in which everything is checked. */
  readonly strikesARound: number;
  log(line: string): void;
};

export type BerthStormReport = {
  strikes: Record<string, number>;
  /** Requests by how they ended. */
  outcomes: Record<string, number>;
  rounds: number;
  readonly violations: string[];
};

type Role = "control" | "gateway" | "engine" | "supervisor";

const roles: readonly Role[] = ["control", "gateway", "engine", "engine", "supervisor"];
const env = {
  ...{ BERTH_STARTER: "off", BERTH_CPU_THREADS: "1", BERTH_WAIT_S: "120", BERTH_QUEUE_WAIT_S: "120" },
  BERTH_DRAIN_S: "20",
};
/** From the last strike until everything is as it was asked for. */
const recoverMs = 300_000;
/** No answer may take longer than all limits together. */
const requestLimitMs = 400_000;
const clients = 4;
/** Most that a killed gateway loses of what was used. */
const lossMs = 1_000;

export async function runBerthStorm(options: BerthStormOptions): Promise<BerthStormReport> {
  const port = String(await findSteadyPort());
  const storm = new BerthStorm(options, await startBerth({ env: { ...env, BERTH_PORT: port } }));
  try {
    return await storm.run();
  } finally {
    await storm.end();
  }
}

class BerthStorm {
  readonly #options: BerthStormOptions;
  readonly #random: () => number;
  readonly #first: Berth;
  #berth: Berth;
  readonly #client = new KeepingClient(() => this.#berth.pids("gateway"));
  /** Each deployment with the instances it must come back to. */
  readonly #wanted = new Map<string, { readonly model: string; readonly instances: number }>();
  readonly #report: BerthStormReport = { strikes: {}, outcomes: {}, rounds: 0, violations: [] };
  /** When each whole answer had come: what is accounted for may not be less, but for what a kill takes with it. */
  readonly #answeredAtMs: number[] = [];
  /** Answers that killed gateways may have taken with them. */
  #mayBeLost = 0;

  constructor(options: BerthStormOptions, berth: Berth) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#first = berth;
    this.#berth = berth;
  }

  async run(): Promise<BerthStormReport> {
    for (const [model, instances] of [
      ["one", 1],
      ["two", 2],
    ] as const)
      await this.#deploy(model, instances);
    await this.#checkAtRest("before the first strike");
    const endsAtMs = Date.now() + this.#options.minutes * 60_000;
    do {
      const over = new AbortController();
      const asking = Array.from({ length: clients }, () => this.#ask(over.signal));
      for (let strike = 0; strike < this.#options.strikesARound && Date.now() < endsAtMs; strike += 1) {
        const [shortest, longest] = this.#options.pauseMs;
        await sleep(shortest + this.#random() * (longest - shortest));
        await this.#strike();
      }
      over.abort();
      await Promise.all(asking);
      this.#report.rounds += 1;
      await this.#checkAtRest(`after round ${this.#report.rounds}`);
    } while (Date.now() < endsAtMs);
    return this.#report;
  }

  async end(): Promise<void> {
    this.#client.end();
    await this.#berth.end();
    // A Berth that was begun on the same home leaves the home to the one that made it.
    if (this.#berth !== this.#first) await this.#first.end();
  }

  async #deploy(model: string, instances: number): Promise<void> {
    const { body, status } = await this.#berth.call("POST", "/deploy/llm", {
      ...{ model_name: model, gpu: "other", max_batch_size: 2, hf: { repo: "berth/starter" } },
      settings: { min_instances: instances, max_instances: instances },
    });
    if (status !== 200) throw new Error(`the deployment was answered with ${status}`);
    this.#wanted.set(body.deploy_id, { model, instances });
  }

  async #strike(): Promise<void> {
    const role = pick(this.#random, roles);
    const how = this.#random() < 0.3 && role !== "supervisor" ? "stop" : "kill";
    const pids = role === "supervisor" ? [this.#berth.process.pid ?? 0] : this.#berth.pids(role);
    const pid = pids.length === 0 ? undefined : pick(this.#random, pids);
    if (pid === undefined) return;
    const name = `${how} ${role}`;
    this.#report.strikes[name] = (this.#report.strikes[name] ?? 0) + 1;
    this.#options.log(name);
    if (how === "stop") {
      signal(pid, "SIGSTOP");
      await sleep(200 + this.#random() * 6_000);
      signal(pid, "SIGCONT");
      return;
    }
    if (role === "gateway" || role === "supervisor") this.#mayBeLost += this.#answeredOfLate();
    signal(pid, "SIGKILL");
    if (role === "supervisor") await this.#startAgain();
  }

  /** What a gateway that is killed now may not have on disk, with an answer of each client that is on its way. */
  #answeredOfLate(): number {
    const sinceMs = Date.now() - lossMs;
    return (
      this.#answeredAtMs.length - 1 - this.#answeredAtMs.findLastIndex((atMs) => atMs < sinceMs) + clients
    );
  }

  /** As systemd would. */
  async #startAgain(): Promise<void> {
    const { home, url } = this.#berth;
    const port = new URL(url).port;
    this.#berth = await startBerth({ home, env: { ...env, BERTH_PORT: port }, readyWithinMs: recoverMs });
  }

  async #ask(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      const { model } = pick(this.#random, [...this.#wanted.values()]);
      const stream = this.#random() < 0.5;
      const outcome = await this.#askOnce(model, stream);
      this.#report.outcomes[outcome] = (this.#report.outcomes[outcome] ?? 0) + 1;
      if (outcome === "nobody listens") await sleep(100);
    }
  }

  /** How one request ended: whole, refused with a reason, or cut because the gateway that carried it has gone. */
  async #askOnce(model: string, stream: boolean): Promise<string> {
    const body = {
      ...{ model, stream, temperature: 0, max_tokens: 1 + Math.floor(this.#random() * 40) },
      messages: [
        { role: "user", content: pick(this.#random, ["Hello", "What is the sea?", "Tell a story."]) },
      ],
    };
    const ended = await this.#client.post(
      `${this.#berth.url}/v1/chat/completions`,
      { authorization: `Bearer ${token}` },
      body,
      requestLimitMs,
    );
    if (ended.kind === "answered") return this.#judge(model, ended.status, ended.text, stream);
    if (ended.kind === "no answer") {
      this.#violate(`a request to ${model} had no answer for ${requestLimitMs / 1000} s`);
      return "no answer";
    }
    if (ended.code === "ECONNREFUSED") return "nobody listens";
    const { code, gateways } = ended;
    if (!(await this.#hasOneGone(gateways)))
      this.#violate(`a request to ${model} was cut (${code}) though the gateways ${gateways} live`);
    return "cut with its gateway";
  }

  #judge(model: string, status: number, text: string, stream: boolean): string {
    if (status === 200 && (stream ? text.includes("data: [DONE]") : text.includes('"finish_reason"'))) {
      this.#answeredAtMs.push(Date.now());
      return "whole";
    }
    const reason = /"error":\s*\{[^}]*"message":\s*"([^"]{10,})"/.exec(text)?.[1];
    if (reason === undefined)
      this.#violate(`an answer ${status} has neither an end nor a reason: ${text.slice(-300)}`);
    // Nothing that is struck makes a good request a bad one.
    if (status >= 400 && status < 500) this.#violate(`a good request was answered ${status}: ${reason}`);
    return `refused ${status}: ${reason?.replaceAll(model, "…")}`;
  }

  /** A killed process may be seen for a moment after its connections have ended. */
  async #hasOneGone(gateways: readonly number[]): Promise<boolean> {
    const look = () => {
      const living = this.#berth.pids("gateway");
      return gateways.length === 0 || gateways.some((pid) => !living.includes(pid));
    };
    return await until("a gateway to be gone", look, 5_000).catch(() => false);
  }

  #violate(text: string): void {
    this.#options.log(`VIOLATION: ${text}`);
    this.#report.violations.push(text);
  }

  async #check(what: string, look: () => Promise<boolean>): Promise<void> {
    let last: unknown;
    const calm = async () => {
      try {
        return await look();
      } catch (error) {
        last = error; // it is coming back: looked at again
        return false;
      }
    };
    await until(what, calm, recoverMs).catch((error: unknown) => {
      this.#violate(`${String(error)}${last === undefined ? "" : `, last ${String(last)}`}`);
    });
  }

  /** Nobody asks and nothing is struck: what must be true now. */
  async #checkAtRest(when: string): Promise<void> {
    const berth = this.#berth;
    await this.#check(`Berth to be ready ${when}`, () => isReady(berth.url));
    await this.#check(`every deployment to be there ${when}`, async () => {
      const ids = await berth.listIds();
      return [...this.#wanted.keys()].every((id) => ids.includes(id)) && ids.length === this.#wanted.size;
    });
    for (const [id, { model, instances }] of this.#wanted) {
      await this.#check(`${model} to run with ${instances} instances ${when}`, async () => {
        const { body } = await berth.call("GET", `/deploy/${id}`);
        return body.status === "running" && body.instances.running === instances;
      });
      // As many answers at once as there are slots: none was lost.
      await this.#check(`every slot of ${model} to answer ${when}`, async () => {
        const asked = Array.from({ length: 2 * instances }, () => this.#askOnce(model, false));
        return (await Promise.all(asked)).every((outcome) => outcome === "whole");
      });
    }
    const total = [...this.#wanted.values()].reduce((sum, { instances }) => sum + instances, 0);
    await this.#check(`exactly ${total} engines ${when}`, async () => berth.pids("engine").length === total);
    await this.#check(`one control, one gateway and nothing else ${when}`, async () => {
      const own = [berth.process.pid ?? 0, ...berth.pids("control"), ...berth.pids("gateway")];
      return own.length === 3 && strays(berth.home, own).length === 0;
    });
    await this.#checkUsage(when);
  }

  /** Told is stored, but for what killed gateways may have taken with them. */
  async #checkUsage(when: string): Promise<void> {
    const answered = this.#answeredAtMs.length;
    let requests = 0;
    await this.#check(`usage of ${answered} answers, up to ${this.#mayBeLost} less, ${when}`, async () => {
      requests = 0;
      for (const id of this.#wanted.keys()) {
        const { raw } = await this.#berth.call("GET", `/deploy/${id}/stats2?from=now-1d`);
        requests += (raw as { llm?: { requests?: number } }).llm?.requests ?? 0;
      }
      return requests >= answered - this.#mayBeLost;
    });
    this.#options.log(`${answered} whole answers, ${requests} accounted for`);
  }
}

function signal(pid: number, name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it ended meanwhile
  }
}

/** Controls and gateways that work on this home and are not of the living Berth. */
function strays(home: string, own: readonly number[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && !own.includes(Number(name)))
    .filter((name) => {
      try {
        const args = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        const isRole = args.some((arg) => arg.endsWith("src/main.ts"));
        return isRole && readFileSync(`/proc/${name}/environ`, "utf8").includes(`BERTH_HOME=${home}\0`);
      } catch {
        return false; // ended while we looked
      }
    })
    .map(Number);
}
