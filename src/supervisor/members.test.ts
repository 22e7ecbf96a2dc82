import { describe, expect, it } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { type Hearer, Members } from "./members.ts";
import type { SupervisorMessage, View } from "./message.ts";

type Child = Hearer & { readonly heard: View[]; readonly kills: string[] };

function child(pid: number): Child {
  const heard: View[] = [];
  const kills: string[] = [];
  return {
    ...{ pid, connected: true, heard, kills },
    send(message: SupervisorMessage) {
      if (message.type === "view") heard.push(message.view);
      return true;
    },
    kill: (signal) => kills.push(signal) > 0,
  };
}

/** Sleeps end when told to, or by their signal. */
function handClock() {
  const wakes: (() => void)[] = [];
  const sleep = (_ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      wakes.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  return { sleep, wakes };
}

const seats = (view: View | undefined) => view?.processes.map(({ id, seat }) => [id, seat]);

describe("members", () => {
  it("are told to all, in numbered views; who has not joined is told too", () => {
    const members = new Members(handClock(), () => undefined);
    const [one, two, next] = [child(1), child(2), child(3)];
    for (const each of [one, two]) members.started(each);
    members.joins(one, 0, "/1");
    members.joins(two, 1, "/2");
    members.started(next);
    members.joins(next, 0, "/3");
    members.ended(one);
    for (const { heard } of [one, two])
      expect(heard.map(({ version }) => version)).toEqual([0, 1, 2, 3].concat(heard === two.heard ? 4 : []));
    expect(next.heard.map(seats)).toEqual([
      [
        ["1", 0],
        ["2", 1],
      ],
      [
        ["1", 0],
        ["2", 1],
        ["3", 0],
      ],
      [
        ["2", 1],
        ["3", 0],
      ],
    ]);
    // A process that never joined makes no view.
    const stranger = child(4);
    members.started(stranger);
    members.ended(stranger);
    expect(next.heard).toHaveLength(3);
  });

  it("that do not enter a view in time are killed, others are not", async () => {
    const { sleep, wakes } = handClock();
    const logged: string[] = [];
    const members = new Members({ sleep }, (message) => logged.push(message));
    const [quick, hung] = [child(1), child(2)];
    members.started(quick);
    members.started(hung);
    members.joins(quick, 0, "/1");
    members.joins(hung, 1, "/2");
    members.entered(quick, 2);
    members.entered(hung, 1);
    for (const wake of wakes) wake();
    await eventually(() => expect(hung.kills).toEqual(["SIGKILL"]));
    expect(quick.kills).toEqual([]);
    expect(logged).toHaveLength(1);
  });
});
