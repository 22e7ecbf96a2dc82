/**
 * Why a deployment is in its state: the facts it is derived from, the decisions since the last time somebody asked for
 * something, and what would change it. Pure: made anew from facts and events at each question, so it cannot be stale.
 * Says nothing that the owner may not read in the events.
 */

import { backoffMs } from "./backoff.ts";
import type { Deployment } from "./deployment.ts";
import type { DeploymentEvent } from "./event.ts";
import { failReason } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { describeMoment, describeRule, minimumAt, settingsAt } from "./schedule.ts";
import { type Status, statusOf } from "./status.ts";

export type Why = {
  readonly status: Status;
  /** What the status follows from, most telling fact first; whole sentences. */
  readonly facts: readonly string[];
  /** What was asked for last, and what was decided since; oldest first. */
  readonly chain: readonly DeploymentEvent[];
  /** What would lead to another state; whole sentences. */
  readonly wouldChange: readonly string[];
};

/** What a person asked for; the state follows from the last of these. */
const asked = new Set([
  ...["accepted", "settings_changed", "update_asked", "restore_asked", "stopped", "started", "deleted"],
]);

/** Decisions that are told; of more, those in the middle are left out. */
const maxChain = 20;

export function explainState(world: {
  readonly deployment: Deployment;
  /** This deployment's. */
  readonly instances: readonly InstanceRecord[];
  /** Oldest first. */
  readonly events: readonly DeploymentEvent[];
  readonly now: number;
}): Why {
  const { deployment, instances, events, now } = world;
  const { status, instances: counts } = statusOf(deployment, instances, now);
  const chain = chainOf(events);
  // What the last decision advises holds as long as nothing came after it.
  const advice = status === "failed" ? "" : (chain.at(-1)?.next ?? "");
  const settings = settingsAt(deployment.settings, now);
  const found = explain[status]({ deployment: { ...deployment, settings }, instances, counts, chain, now });
  const schedule = explainSchedule(deployment, now);
  return {
    ...{ status, chain },
    facts: [
      ...found.facts,
      ...schedule.facts,
      ...triesOf(deployment, now),
      ...instances.map(describeInstance),
    ],
    wouldChange: [...found.wouldChange, ...schedule.wouldChange, ...(advice === "" ? [] : [advice])],
  };
}

/** From the last thing that was asked for on. A deployment whose events were pruned since begins with the oldest left. */
function chainOf(events: readonly DeploymentEvent[]): readonly DeploymentEvent[] {
  const since = events.slice(
    Math.max(
      0,
      events.findLastIndex(({ code }) => asked.has(code)),
    ),
  );
  if (since.length <= maxChain) return since;
  return [...since.slice(0, 1), ...since.slice(1 - maxChain)];
}

type Known = {
  readonly deployment: Deployment;
  readonly instances: readonly InstanceRecord[];
  readonly counts: { readonly running: number; readonly pending: number; readonly warming: number };
  readonly chain: readonly DeploymentEvent[];
  readonly now: number;
};
type Explained = Pick<Why, "facts" | "wouldChange">;

const start = ({ id }: Deployment) => `POST /deploy/${id}/start`;

const explain: Record<Status, (known: Known) => Explained> = {
  deleted: ({ deployment }) => ({
    facts: [`${deployment.name} was deleted, which is for good.`],
    wouldChange: ["Nothing; deploy it again under the same name."],
  }),
  stopped: ({ deployment }) => ({
    facts: [`${deployment.name} was asked to stop, and nobody has asked it to start since.`],
    wouldChange: [`${start(deployment)}, or berth start, brings it back.`],
  }),
  failed: ({ deployment }) => ({
    facts: [`Berth has given up: ${failReason(deployment.failure)}`],
    wouldChange: [`Once the cause is mended, ${start(deployment)} tries again.`],
  }),
  initializing: ({ deployment }) => ({
    facts: [`The repository ${deployment.config.weights.repo} is not resolved to a commit yet.`],
    wouldChange: ["An answer of the hub; it is asked again by itself."],
  }),
  downloading: ({ deployment }) => ({
    facts: [`The files of commit ${deployment.resolved?.commit ?? ""} are not all here and verified yet.`],
    wouldChange: ["The end of the download; what is interrupted goes on where it was."],
  }),
  deploying: ({ deployment, counts, chain }) => ({
    facts: [
      `${deployment.settings.minInstances} instances are wanted and none answers yet; ${counts.pending} are being started.`,
    ],
    wouldChange:
      counts.pending > 0
        ? ["The first answer of an instance that loads makes it running."]
        : [lackOf(chain) ?? "The next try of a start, which comes by itself."],
  }),
  updating: ({ deployment, counts }) => ({
    facts: [
      `It is being brought from revision ${deployment.revisions.fallback?.id ?? ""} to ${deployment.revisions.wanted.id} of its arguments; ${counts.running} instances serve meanwhile.`,
    ],
    wouldChange: [
      "It ends when every instance has the new arguments, or goes back by itself when they do not work.",
    ],
  }),
  running: explainRunning,
};

function explainRunning({ deployment, counts, chain }: Known): Explained {
  const { minInstances, maxInstances } = deployment.settings;
  if (counts.running === 0 && counts.pending > 0) {
    return {
      facts: [`It was at zero instances and is being woken; ${counts.pending} are being started.`],
      wouldChange: ["The request that woke it waits until one of them answers."],
    };
  }
  if (counts.running === 0) {
    const mayRun = maxInstances > 0;
    return {
      facts: [
        mayRun
          ? "It has no instance, since min_instances is 0 and no request waits."
          : "It may have no instance, since max_instances is 0.",
      ],
      wouldChange: [
        mayRun
          ? "A request starts an instance and waits for it; a min_instances above 0 keeps one ready."
          : "A max_instances above 0.",
      ],
    };
  }
  const lacking = minInstances - counts.running - counts.pending;
  const facts = [
    `${counts.running === 1 ? "1 instance answers" : `${counts.running} instances answer`}; between ${minInstances} and ${maxInstances} are asked for.`,
  ];
  if (lacking > 0) facts.push(`${lacking} of those that are always wanted are missing.`);
  const until = minInstances === 0 ? ["Without requests it goes to zero instances after a while."] : [];
  const lack = lacking > 0 ? lackOf(chain) : null;
  return { facts, wouldChange: [...until, ...(lack === null ? [] : [lack])] };
}

/** What the schedule asks for now, and what it will ask for next. */
function explainSchedule({ settings, desired, failure }: Deployment, now: number): Explained {
  const { schedule } = settings;
  if (schedule === undefined || desired !== "run" || failure !== null) return { facts: [], wouldChange: [] };
  const { rule, instances, next } = minimumAt(settings, now);
  const fact =
    rule === null
      ? `No rule of its schedule holds now, so min_instances counts, which is ${instances}.`
      : `Its schedule asks for at least ${instances} now: ${describeRule(rule, schedule)}.`;
  if (next === null) return { facts: [fact], wouldChange: [] };
  const when = `${new Date(next.atMs).toISOString().slice(0, 16)}Z, ${describeMoment(next.atMs, schedule)}`;
  return {
    facts: [fact],
    wouldChange: [`Its schedule asks for at least ${next.instances} from ${when} on.`],
  };
}

/** Room that a start waits for, unless an instance has started since. */
function lackOf(chain: readonly DeploymentEvent[]): string | null {
  const last = chain.findLast(({ code }) => code === "waiting_for_room" || code === "instance_starting");
  return last?.code === "waiting_for_room" ? last.text : null;
}

function triesOf({ tries, revisions, failure, desired }: Deployment, now: number): string[] {
  if (failure !== null || desired !== "run") return [];
  return [
    { tries, what: "Starting it" },
    { tries: revisions.tries, what: "The update" },
  ].flatMap(({ tries: { count, lastAtMs, lastFailure }, what }) => {
    if (count === 0 || lastFailure === null || lastAtMs === null) return [];
    const waitS = Math.ceil((lastAtMs + backoffMs(count) - now) / 1000);
    const again = waitS > 0 && lastAtMs <= now ? `the next try is in ${waitS} s` : "the next try is due";
    return [
      `${what} failed ${count === 1 ? "once" : `${count} times`}, last: ${lastFailure.message} ${upper(again)}.`,
    ];
  });
}

function describeInstance({ id, intent, observed, revision }: InstanceRecord): string {
  const where = observed === null ? "" : ` on ${observed.placement.gpus.join(", ") || "the CPU"}`;
  const state = { starting: "is loading", running: "answers", exited: "has ended" };
  const seen = observed === null ? "was decided and is not seen yet" : state[observed.state];
  const leaving = intent === "drain" ? " and takes no new requests" : "";
  return `Instance ${id} ${seen}${where}${leaving}; revision ${revision}.`;
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
