/**
 * Which process of the gateway owns which deployment's slots. Pure. The supervisor alone says who is there, in numbered
 * views that every process enters one after the other; from the same view everyone concludes the same owner. Owns that
 * conclusion, and when an owner has heard from everybody so that it may give slots out. Must not know what a slot is.
 *
 * Why two processes never give out more than there are: whoever enters a view tells the view's owners what it holds of
 * theirs, and then that this was all; an owner gives nothing out of what it has just become the owner of before all
 * members have said so, and a process that is not a member has ended, so that it holds nothing.
 */

export type GatewayMember = {
  readonly id: string;
  /** Which share of the deployments is its own; null for one that has a successor and only finishes what it has. */
  readonly seat: number | null;
  /** Unix socket at which it hears the others. */
  readonly path: string;
};

export type GatewayView = {
  /** Counts up; none is left out. */
  readonly version: number;
  readonly members: readonly GatewayMember[];
};

/** A process of one seat. */
export type SeatedProcess = Omit<GatewayMember, "seat"> & { readonly seat: number };

/** @param processes those that are there, in the order in which they came: the last one of each seat has it */
export function membersOf(processes: readonly SeatedProcess[]): GatewayMember[] {
  const newest = new Map(processes.map(({ seat, id }) => [seat, id]));
  return processes.map((one) => ({ ...one, seat: newest.get(one.seat) === one.id ? one.seat : null }));
}

/**
 * The owner of a deployment: of the seats that are taken, the one with the highest number made of both (rendezvous hashing),
 * so that a seat that comes or goes moves its own deployments and no others. Null when no seat is taken.
 */
export function ownerOf(deploymentId: string, { members }: GatewayView): GatewayMember | null {
  const key = hashOf(deploymentId);
  let owner: GatewayMember | null = null;
  let highest = -1;
  for (const member of members) {
    if (member.seat === null) continue;
    const weight = mix(key ^ Math.imul(member.seat + 1, 0x9e3779b1));
    if (weight > highest) [owner, highest] = [member, weight];
  }
  return owner;
}

/** Who has told everything it holds, for the process `self`. */
export class Telling {
  readonly #self: string;
  /** By member, the newest view of which it has told all. */
  readonly #told = new Map<string, number>();
  #view: GatewayView = { version: 0, members: [] };

  constructor(self: string) {
    this.#self = self;
  }

  enter(view: GatewayView): void {
    this.#view = view;
    const there = new Set(view.members.map(({ id }) => id));
    for (const id of this.#told.keys()) if (!there.has(id)) this.#told.delete(id);
  }

  told(id: string, version: number): void {
    this.#told.set(id, version);
  }

  /** Every other member of the newest view has told all it holds. */
  get isComplete(): boolean {
    const { version, members } = this.#view;
    return members.every(({ id }) => id === this.#self || (this.#told.get(id) ?? 0) >= version);
  }
}

/** FNV-1a. */
function hashOf(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  return state;
}

/** Spreads nearby numbers far apart (MurmurHash3's last step). */
function mix(value: number): number {
  let state = value ^ (value >>> 16);
  state = Math.imul(state, 0x85ebca6b);
  state ^= state >>> 13;
  state = Math.imul(state, 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
