/**
 * Expressions without repetitions of what may be empty: whoever follows one of those comes no further and has no end. Pure. A
 * repetition without end is put into star normal form (Brüggemann-Klein, 1993), which is no larger than what it is made of, so
 * that `((a*)*)*` has one way through it and not one for each star; a counted one says in several ways what may be empty.
 */
import { Effort, EffortSpent } from "../../core/effort.ts";
import { RegexError, type RegexNode } from "../../core/regex.ts";

type Repeat = Extract<RegexNode, { kind: "repeat" }>;

/** Parts of what counted repetitions come to. */
const mostParts = 20_000;
const empty: RegexNode = { kind: "sequence", items: [] };

/** The same texts; throws RegexError. */
export function solidRepeats(node: RegexNode): RegexNode {
  try {
    return solid(node, new Effort(mostParts));
  } catch (error) {
    if (error instanceof EffortSpent) throw new RegexError("has too many parts that may be empty.");
    throw error;
  }
}

function solid(node: RegexNode, effort: Effort): RegexNode {
  switch (node.kind) {
    case "chars":
      return node;
    case "sequence":
      return { kind: "sequence", items: node.items.map((item) => solid(item, effort)) };
    case "choice":
      return { kind: "choice", options: node.options.map((option) => solid(option, effort)) };
    case "repeat":
      return solidRepeat(node, effort);
  }
}

function solidRepeat({ kind, item, least, most }: Repeat, effort: Effort): RegexNode {
  if (most === 0) return empty;
  const mayBeEmpty = canBeEmpty(item);
  if (most === null && (mayBeEmpty || least <= 1)) {
    const turn = oneTurn(item, effort);
    return turn === null ? empty : { kind, item: turn, least: mayBeEmpty ? 0 : least, most };
  }
  if (!mayBeEmpty) return { kind, item: solid(item, effort), least, most };
  if (most === 1) return solid(item, effort);
  const part = withoutEmpty(solid(item, effort), effort);
  return part === null ? empty : { kind, item: part, least: 0, most };
}

/**
 * What makes the same texts as the node when it is repeated without end, is never empty, and does not itself repeat what that
 * repetition does already; null when the node has no text but the empty one.
 */
function oneTurn(node: RegexNode, effort: Effort): RegexNode | null {
  switch (node.kind) {
    case "chars":
      return node;
    case "choice":
      return choiceOf(node.options.map((option) => oneTurn(option, effort)));
    case "sequence":
      return oneTurnOfSequence(node.items, effort);
    case "repeat": {
      if (node.most === 0) return null;
      // Two or more of something in each turn are a sequence of such.
      const isOneOrMore = node.least <= 1 || canBeEmpty(node.item);
      return isOneOrMore ? oneTurn(node.item, effort) : solidRepeat(node, effort);
    }
  }
}

/** Where all others may be empty, an item can be the beginning and the end of a turn, so that turns repeat it already. */
function oneTurnOfSequence(items: readonly RegexNode[], effort: Effort): RegexNode | null {
  const needed = items.filter((item) => !canBeEmpty(item));
  if (needed.length === 0) return choiceOf(items.map((item) => oneTurn(item, effort)));
  const [only, ...more] = needed;
  const written = items.map((item) =>
    item === only && more.length === 0 ? oneTurn(item, effort) : solid(item, effort),
  );
  return { kind: "sequence", items: written.filter((item) => item !== null) };
}

/** The same texts but the empty one, of what has no repetition of what may be empty; null when there is no other. */
function withoutEmpty(node: RegexNode, effort: Effort): RegexNode | null {
  effort.pay(1);
  if (!canBeEmpty(node)) return node;
  switch (node.kind) {
    case "chars":
      return node;
    case "choice":
      return choiceOf(node.options.map((option) => withoutEmpty(option, effort)));
    case "sequence":
      // The first item that is not empty, and whatever the items behind it are.
      return choiceOf(
        node.items.map((item, index) => {
          const first = withoutEmpty(item, effort);
          const rest = node.items.slice(index + 1);
          effort.pay(rest.length);
          return first === null || rest.length === 0 ? first : { kind: "sequence", items: [first, ...rest] };
        }),
      );
    case "repeat":
      return node.most === 1 ? node.item : { ...node, least: 1 };
  }
}

function canBeEmpty(node: RegexNode): boolean {
  switch (node.kind) {
    case "chars":
      return false;
    case "sequence":
      return node.items.every(canBeEmpty);
    case "choice":
      return node.options.some(canBeEmpty);
    case "repeat":
      return node.least === 0 || canBeEmpty(node.item);
  }
}

function choiceOf(options: readonly (RegexNode | null)[]): RegexNode | null {
  const left = options.filter((option) => option !== null);
  const [only, ...more] = left;
  return only === undefined || more.length === 0 ? (only ?? null) : { kind: "choice", options: left };
}
