/**
 * The processes of one gateway among themselves: in each view (core/gateway-view.ts) every line is in one of them, and all
 * ask there. Owns the sockets between them, which messages belong to which view, and when a process that has become the
 * owner of lines may give slots out. What is asked is lessee.ts's and lessor.ts's.
 *
 * A connection that breaks says nothing: both sides may be well, and it is made anew and everything told again. That a
 * process has ended is the supervisor's to say, by a view without it.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { type GatewayMember, type GatewayView, ownerOf, Telling } from "../core/gateway-view.ts";
import type { MetricFamily } from "../schema/exposition.ts";
import { type LeaseQuestion, leaseAnswer, leaseQuestion } from "../schema/leases.ts";
import type { Admission } from "./admission.ts";
import { askForFigures, sendFigures } from "./figures.ts";
import { Lessee } from "./lessee.ts";
import { Lessor } from "./lessor.ts";
import { type MessageLines, openMessageLines } from "./message-lines.ts";
import type { Log } from "./options.ts";
import type { TurnEnd } from "./turn-end.ts";

const reconnectMs = 50;

export type PeersOptions = {
  /** This process among the members. */
  readonly self: string;
  /** Unix socket at which it hears the others. */
  readonly path: string;
  /** There is more than one all the time, not only while one takes another's place. */
  readonly areMany: boolean;
  readonly admission: Pick<Admission, "lineOf" | "moveLines" | "settle">;
  readonly turnEnd: TurnEnd;
  readonly log: Log;
  now(): number;
  /** Resolves when this process goes by routes of this version, or has waited long enough for them. */
  routesReached(version: number): Promise<void>;
  /** What this process has counted. */
  figures(): Promise<readonly MetricFamily[]>;
  /** Another process has spent this for a scoped JWT. */
  onSpentElsewhere(scopeId: string, nanoUsd: number): void;
  /** All processes go by routes of this version or a later one. */
  onRoutesEverywhere(version: number): void;
};

export type Figures = { readonly number: number; readonly families: readonly MetricFamily[] };

/** A connection to another process, whose lines this one's requests stand in. */
type Link = {
  readonly lessee: Lessee;
  send(question: LeaseQuestion): void;
  close(): void;
};

/** A connection from another process, whose requests stand in lines here. */
type Guest = {
  readonly id: string;
  readonly lessor: Lessor;
  readonly lines: MessageLines;
  readonly socket: Socket;
  /** Of its connections before this one, whose slots count until all has been told anew. */
  before: readonly Lessor[];
  routes: number;
};

export class Peers {
  readonly #options: PeersOptions;
  readonly #telling: Telling;
  readonly #links = new Map<string, Link>();
  /** Those that have said who they are, and are members. */
  readonly #guests = new Map<string, Guest>();
  /** Connections whose next message belongs to a view that is still on its way. */
  readonly #ahead = new Set<MessageLines>();
  readonly #server: Server;
  #view: GatewayView = { version: 0, members: [] };
  #routes = 0;
  readonly #settled = Promise.withResolvers<void>();

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#telling = new Telling(options.self);
    this.#server = createServer((socket) => this.#receive(socket));
  }

  /** Resolves when this process has heard from all others for the first time. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** No request of another process stands in a line here or is counted in one. */
  get isIdle(): boolean {
    return [...this.#guests.values()].every(({ lessor }) => lessor.isIdle);
  }

  async open(): Promise<void> {
    const { path } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, resolve);
    });
  }

  /** Enters a view that this process is a member of. */
  enter(view: GatewayView): void {
    const { self, admission } = this.#options;
    this.#view = view;
    this.#telling.enter(view);
    const others = new Map(view.members.filter(({ id }) => id !== self).map((one) => [one.id, one]));
    for (const link of this.#links.values()) link.send({ type: "view", version: view.version });
    for (const member of others.values())
      if (!this.#links.has(member.id)) this.#links.set(member.id, this.#openLink(member));
    admission.moveLines((deploymentId) => {
      const owner = ownerOf(deploymentId, view);
      if (owner === null || owner.id === self) return null;
      return this.#links.get(owner.id)?.lessee.lineOf(deploymentId) ?? null;
    });
    for (const [id, guest] of this.#guests) {
      guest.lessor.forgetMoved();
      if (others.has(id)) continue;
      this.#guests.delete(id);
      guest.lessor.end();
      for (const lessor of guest.before) lessor.end();
      guest.socket.destroy();
    }
    for (const [id, link] of this.#links) {
      link.send({ type: "over", version: view.version });
      if (others.has(id)) continue;
      this.#links.delete(id);
      link.close();
    }
    const ahead = [...this.#ahead];
    this.#ahead.clear();
    for (const lines of ahead) lines.resume();
    this.#look();
  }

  /** This process goes by these routes from now on. */
  routesChanged(version: number): void {
    this.#routes = version;
    for (const link of this.#links.values()) link.send({ type: "routes", version });
    this.#lookAtRoutes();
  }

  /** This process has spent something for a scoped JWT with a limit. */
  spent(scopeId: string, nanoUsd: number): void {
    for (const link of this.#links.values()) link.send({ type: "spent", scopeId, nanoUsd });
  }

  /**
   * What the other processes have counted, by their numbers, and this one's number; null where there is one alone. A process
   * that only finishes what it has is left out, and has no number any more: its successor has it.
   */
  async figures(): Promise<{ readonly own: number | null; readonly others: readonly Figures[] } | null> {
    const { self, areMany } = this.#options;
    if (!areMany) return null;
    let own: number | null = null;
    const asked: Promise<Figures | null>[] = [];
    for (const { id, seat, path } of this.#view.members) {
      if (seat === null) continue;
      if (id === self) own = seat + 1;
      else asked.push(askForFigures(path).then((families) => families && { number: seat + 1, families }));
    }
    return { own, others: (await Promise.all(asked)).filter((one) => one !== null) };
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    for (const { socket } of this.#guests.values()) socket.destroy();
    this.#server.close();
  }

  #look(): void {
    if (!this.#telling.isComplete) return;
    this.#options.admission.settle();
    this.#settled.resolve();
    this.#lookAtRoutes();
  }

  #lookAtRoutes(): void {
    const others = this.#view.members.filter(({ id }) => id !== this.#options.self);
    const versions = others.map(({ id }) => this.#guests.get(id)?.routes ?? 0);
    this.#options.onRoutesEverywhere(Math.min(this.#routes, ...versions));
  }

  #openLink({ id, path }: GatewayMember): Link {
    let lines: MessageLines | null = null;
    let socket: Socket | null = null;
    let timer: NodeJS.Timeout | undefined;
    let isClosed = false;
    const send = (question: LeaseQuestion) => lines?.send(question);
    const { now, self, turnEnd, log } = this.#options;
    const isConnected = () => lines !== null;
    const lessee = new Lessee({ owner: id, now, routes: () => this.#routes, isConnected, send });

    const open = () => {
      const opened = connect(path);
      socket = opened;
      opened.on("connect", () => {
        lines = openMessageLines(
          opened,
          turnEnd,
          leaseAnswer,
          (answer) => void lessee.hear(answer),
          (error) => log("error", "another gateway process cannot be understood", { error: String(error) }),
        );
        send({ type: "hello", from: self });
        send({ type: "view", version: this.#view.version });
        send({ type: "routes", version: this.#routes });
        lessee.tellAll();
        send({ type: "over", version: this.#view.version });
      });
      opened.on("error", () => undefined); // "close" follows
      opened.on("close", () => {
        lines = null;
        if (!isClosed) timer = setTimeout(open, reconnectMs);
      });
    };
    open();
    return {
      lessee,
      send,
      close() {
        isClosed = true;
        clearTimeout(timer);
        lessee.end();
        socket?.destroy();
      },
    };
  }

  #receive(socket: Socket): void {
    let from: string | null = null;
    let guest: Guest | null = null;
    const { turnEnd, log } = this.#options;
    const lines: MessageLines = openMessageLines(
      socket,
      turnEnd,
      leaseQuestion,
      (question) => {
        if (question.type === "figures") {
          void this.#sendFigures(socket);
          return undefined;
        }
        if (question.type === "hello") {
          from = question.from;
          return undefined;
        }
        if (from === null) throw new Error("it did not say who it is");
        if (question.type === "view") {
          if (question.version > this.#view.version) {
            this.#ahead.add(lines);
            return "later";
          }
          guest ??= this.#welcome(from, socket, lines);
        } else if (guest === null) throw new Error("it did not say which view it is in");
        else this.#hear(guest, question);
        return undefined;
      },
      (error) => log("error", "another gateway process cannot be understood", { error: String(error) }),
    );
    socket.on("close", () => {
      this.#ahead.delete(lines);
      guest?.lessor.loseTouch();
    });
  }

  async #sendFigures(socket: Socket): Promise<void> {
    try {
      sendFigures(socket, await this.#options.figures());
    } catch (error) {
      this.#options.log("error", "the figures could not be told", { error: String(error) });
      socket.destroy();
    }
  }

  #welcome(id: string, socket: Socket, lines: MessageLines): Guest {
    if (!this.#view.members.some((member) => member.id === id)) throw new Error("it is not a member");
    const { admission, log, routesReached } = this.#options;
    const known = this.#guests.get(id);
    known?.socket.destroy();
    const lessor = new Lessor({ admission, log, routesReached, send: (answer) => lines.send(answer) });
    // One that broke off before it had told everything makes none before it superfluous.
    const before = known === undefined ? [] : [...known.before, known.lessor];
    const guest = { id, lessor, lines, socket, before, routes: known?.routes ?? 0 };
    this.#guests.set(id, guest);
    return guest;
  }

  #hear(guest: Guest, question: Exclude<LeaseQuestion, { type: "hello" | "figures" }>): void {
    if (this.#guests.get(guest.id) !== guest) return; // it has ended, or has come anew
    if (question.type === "over") {
      for (const lessor of guest.before) lessor.end();
      guest.before = [];
      this.#telling.told(guest.id, question.version);
      this.#look();
    } else if (question.type === "routes") {
      guest.routes = question.version;
      this.#lookAtRoutes();
    } else if (question.type === "spent") this.#options.onSpentElsewhere(question.scopeId, question.nanoUsd);
    else if (question.type !== "view") guest.lessor.hear(question);
  }
}
