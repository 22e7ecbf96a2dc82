/**
 * Streams by the hundred while engines are killed at random: a real Berth, real engines, clients of every face. Owns the
 * run and its sums; what is asked is tasks.ts's, what is wrong with an answer judge.ts's.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Berth, startBerth, until } from "../harness/berth.ts";
import { type RunningStream, type Streamed, startStream } from "../harness/streams.ts";
import { judge } from "./judge.ts";
import { pick, seededRandom, type Task, tasksOf } from "./tasks.ts";

export type StormOptions = {
  readonly seed: number;
  readonly streams: number;
  readonly instances: number;
  /** How long answers are, in shares of what the tasks have by themselves. */
  readonly length: number;
  /** Most kills; there may be fewer where the streams end first. */
  readonly maxKills: number;
  /** Shortest and longest time between two kills, milliseconds. */
  readonly pauseMs: readonly [number, number];
  log(line: string): void;
};

export type StormReport = {
  streams: number;
  kills: number;
  /** Whole answers that another engine had to go on with, and how often. */
  continued: number;
  continuations: number;
  /** Streams that ended in a typed error: not to be continued, or hit twice. */
  typedErrors: number;
  hitTwice: number;
  readonly violations: string[];
};

type Target = {
  readonly model: string;
  readonly id: string;
  readonly slots: number;
  /** Times of kills of its engines. */
  readonly kills: number[];
  /** What its clients were told. */
  readonly told: { requests: number; errors: number; input: number; output: number };
};

export async function runStorm(options: StormOptions): Promise<StormReport> {
  const env = {
    BERTH_STARTER: "off",
    BERTH_CPU_THREADS: "1",
    BERTH_WAIT_S: "600",
    BERTH_QUEUE_WAIT_S: "600",
  };
  const berth = await startBerth({ env });
  try {
    return await new Storm(berth, options).run();
  } finally {
    await berth.end();
  }
}

class Storm {
  readonly #berth: Berth;
  readonly #options: StormOptions;
  readonly #random: () => number;
  readonly #wholes = new Map<Task, Streamed>();
  readonly #answers: Streamed[] = [];
  readonly #report: StormReport = {
    ...{ streams: 0, kills: 0, continued: 0, continuations: 0, typedErrors: 0, hitTwice: 0 },
    violations: [],
  };

  constructor(berth: Berth, options: StormOptions) {
    this.#berth = berth;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<StormReport> {
    const { instances, length, log, streams } = this.#options;
    const tasks = tasksOf(length);
    const one = await this.#deploy("one", 1);
    const many = await this.#deploy("many", 4);
    const targets = [one, many];
    for (const target of targets) await this.#untilAllRun(target);
    const plan = Array.from({ length: streams }, () => pick(this.#random, tasks));
    log(`${new Set(plan).size} tasks are asked undisturbed`);
    for (const task of new Set(plan)) this.#wholes.set(task, await this.#ask(one, task).ended);
    const steady = await this.#findSteady(many, [...new Set(plan)]);
    log(`the storm begins; ${steady.length} tasks are certain in a batch`);
    const over = new AbortController();
    const killing = this.#killAtRandom(targets, over.signal);
    const ofMany = plan
      .slice(Math.ceil(streams / 2))
      .map((task) => (steady.includes(task) ? task : pick(this.#random, steady)));
    // Each target has its share of the streams, and more clients than slots.
    const clients = targets.flatMap((target) => {
      const share = target === one ? plan.slice(0, Math.ceil(streams / 2)) : ofMany;
      return Array.from({ length: target.slots * instances + 2 }, () => this.#beClient(target, share));
    });
    await Promise.all(clients).finally(() => over.abort());
    await killing;
    log("the storm is over");
    for (const target of targets) {
      await this.#untilAllRun(target);
      await this.#takeAllSlots(target);
      await this.#compareUsage(target);
    }
    await this.#countContinuations();
    return this.#report;
  }

  /**
   * The tasks whose answer does not depend on what is computed beside them: sums round otherwise in a batch, which decides
   * where two words are as good as equally likely.
   */
  async #findSteady(target: Target, asked: readonly Task[]): Promise<Task[]> {
    const unsteady = new Set<Task>();
    const left = [...asked, ...asked.toReversed()];
    const client = async () => {
      for (let task = left.pop(); task !== undefined; task = left.pop()) {
        const { text } = await this.#ask(target, task).ended;
        if (text !== this.#wholes.get(task)?.text) unsteady.add(task);
      }
    };
    await Promise.all(Array.from({ length: target.slots * this.#options.instances }, client));
    // An answer that may not end where the model would end it has such places without fail, if not this time.
    return asked.filter((task) => !unsteady.has(task) && task.fields.ignore_eos !== true);
  }

  async #deploy(model: string, slots: number): Promise<Target> {
    const { instances } = this.#options;
    const { body } = await this.#berth.call("POST", "/deploy/llm", {
      ...{ model_name: model, gpu: "other", max_batch_size: slots, hf: { repo: "berth/starter" } },
      settings: { min_instances: instances, max_instances: instances },
    });
    const told = { requests: 0, errors: 0, input: 0, output: 0 };
    return { model, id: body.deploy_id, slots, kills: [], told };
  }

  async #running({ id }: Target): Promise<number> {
    return (await this.#berth.call("GET", `/deploy/${id}`)).body.instances.running;
  }

  async #untilAllRun(target: Target): Promise<void> {
    const { instances } = this.#options;
    const look = async () => (await this.#running(target)) === instances;
    await until(`all instances of ${target.model}`, look, 600_000);
  }

  #ask(target: Target, { face, fields }: Pick<Task, "face" | "fields">): RunningStream {
    const stream = startStream(this.#berth.url, face, { model: target.model, ...fields });
    const ended = stream.ended.then((answer) => {
      target.told.requests += 1;
      if (answer.error !== null) target.told.errors += 1;
      target.told.input += answer.usage?.input ?? 0;
      target.told.output += answer.usage?.output ?? 0;
      return answer;
    });
    return { begun: stream.begun, ended };
  }

  async #beClient(target: Target, share: Task[]): Promise<void> {
    for (let task = share.pop(); task !== undefined; task = share.pop()) {
      const killsBefore = target.kills.length;
      const answer = await this.#ask(target, task).ended;
      this.#answers.push(answer);
      const whole = this.#wholes.get(task);
      if (whole === undefined) throw new Error(`${task.name} was not asked undisturbed`);
      const kills = target.kills.length - killsBefore;
      this.#note(target, task, answer, judge(task, answer, whole, kills));
    }
  }

  #note({ model }: Target, task: Task, answer: Streamed, wrong: readonly string[]): void {
    const report = this.#report;
    report.streams += 1;
    if (answer.error !== null) report.typedErrors += 1;
    if (answer.error !== null && task.mayContinue) report.hitTwice += 1;
    for (const each of wrong) report.violations.push(`${model}, ${task.name}, ${answer.requestId}: ${each}`);
  }

  async #killAtRandom(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    const [shortest, longest] = this.#options.pauseMs;
    while (this.#report.kills < this.#options.maxKills) {
      const pauseMs = shortest + this.#random() * (longest - shortest);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const target = pick(this.#random, targets);
      // The last one is spared: the back-off of restarts grows, and the streams would only wait.
      const pids = this.#enginesOf(target);
      if (pids.length < 2 || (await this.#running(target)) < 2) continue;
      process.kill(pick(this.#random, pids), "SIGKILL");
      target.kills.push(Date.now());
      this.#report.kills += 1;
    }
  }

  /** Engines are told apart by the names that they answer to, in their launch files. */
  #enginesOf({ model }: Target): number[] {
    return this.#berth.pids("engine").filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        const file = args.find((arg) => arg.startsWith(join(this.#berth.home, "instances"))) ?? "";
        return readFileSync(file, "utf8").includes(`"first/${model}"`);
      } catch {
        return false; // ended while we looked
      }
    });
  }

  /** As many streams as there are slots run side by side: none begins only when another has ended. */
  async #takeAllSlots(target: Target): Promise<void> {
    const fields = { messages: [{ role: "user", content: "Hi" }], temperature: 0, ignore_eos: true };
    const count = target.slots * this.#options.instances;
    const running = Array.from({ length: count }, () =>
      this.#ask(target, { face: "chat", fields: { ...fields, max_tokens: 800 } }),
    );
    let ended = 0;
    const ends = running.map(async (stream) => {
      await stream.ended;
      ended += 1;
    });
    await Promise.all(running.map(({ begun }) => begun));
    if (ended > 0) this.#report.violations.push(`${target.model}: a slot is not free again after the storm`);
    await Promise.all(ends);
  }

  /** What the records say that was used is what the clients were told. */
  async #compareUsage({ id, model, told }: Target): Promise<void> {
    type Stats = { requests: number; errors: number; input_tokens: number; output_tokens: number };
    const stats = await until(`${told.requests} requests of ${model} in the statistics`, async () => {
      const { status, raw } = await this.#berth.call("GET", `/deploy/${id}/stats2?from=now-1d`);
      const { llm } = status === 200 ? (raw as { llm: Stats | null }) : { llm: null };
      return llm !== null && llm.requests >= told.requests ? llm : null;
    });
    const recorded = [stats.requests, stats.errors, stats.input_tokens, stats.output_tokens];
    const due = [told.requests, told.errors, told.input, told.output];
    this.#options.log(`${model}: requests, errors, input, output: recorded ${recorded}, told ${due}`);
    if (`${recorded}` !== `${due}`)
      this.#report.violations.push(`${model}: recorded ${recorded}, told ${due}`);
  }

  /** The access log says what clients cannot see. */
  async #countContinuations(): Promise<void> {
    const counts = new Map<string, number>();
    const read = () => {
      for (const line of this.#berth.output().split("\n")) {
        const [, requestId] = /"requestId":"([^"]+)"/.exec(line) ?? [];
        const [, count] = /"continuations":(\d+)/.exec(line) ?? [];
        if (requestId !== undefined && count !== undefined) counts.set(requestId, Number(count));
      }
      return this.#answers.every(({ requestId }) => counts.has(requestId));
    };
    await until("each stream in the access log", read);
    for (const { requestId, error } of this.#answers) {
      const count = counts.get(requestId) ?? 0;
      this.#report.continuations += count;
      if (count > 0 && error === null) this.#report.continued += 1;
    }
  }
}
