/**
 * In how many ways a text may have been read so far by a regular expression, at most, and how many steps these lead on to: whoever
 * follows an expression follows all of them side by side, and chooses each token against every one.
 * `((a{0,46}){0,46}){0,46}` has some ten thousand ways after a few letters; nine hundred times `a?` have nine hundred ways
 * and four hundred thousand steps. Pure, linear in the size of the expression; an upper bound.
 */
import type { RegexNode, RegexOption } from "./regex.ts";

export type Following = {
  /** Ways at once. */
  readonly ways: number;
  /** From all of them to what may come next. */
  readonly steps: number;
};

type Measure = Following & {
  /** Ways and steps at once where what came before was read in one way; these where it may have begun at many times. */
  readonly all: Following;
  /** Ways to begin, and to have just ended. */
  readonly first: number;
  readonly last: number;
  readonly canBeEmpty: boolean;
  /** All its texts are of this length; null where they differ. */
  readonly length: number | null;
};

/** Where the whole text is what the expression says. */
export function followToMatch(options: readonly RegexOption[]): Following {
  return addUp(options.map(({ node }) => measure(node)));
}

/** Where it is to be found somewhere in the text, unless it is tied to its beginning: then it may begin at any character. */
export function followToFind(options: readonly RegexOption[]): Following {
  return addUp(
    options.map(({ node, isTiedToStart }) => {
      const measured = measure(node);
      return isTiedToStart ? measured : measured.all;
    }),
  );
}

function addUp(parts: readonly Following[]): Following {
  return {
    ways: parts.reduce((sum, { ways }) => sum + ways, 0),
    steps: parts.reduce((sum, { steps }) => sum + steps, 0),
  };
}

function measure(node: RegexNode): Measure {
  switch (node.kind) {
    case "chars":
      return character;
    case "sequence":
      return node.items.map(measure).reduce(measureBehind, nothing);
    case "choice":
      return measureChoice(node.options.map(measure));
    case "repeat":
      return measureRepeat(measure(node.item), node.least, node.most);
  }
}

const none: Following = { ways: 0, steps: 0 };
const nothing: Measure = { ways: 1, steps: 0, all: none, first: 0, last: 0, canBeEmpty: true, length: 0 };
const character: Measure = {
  ...{ ways: 1, steps: 0, all: { ways: 1, steps: 0 } },
  ...{ first: 1, last: 1, canBeEmpty: false, length: 1 },
};

/** An item behind others. After the first whose texts differ in length, those behind it may have begun at several times. */
function measureBehind(before: Measure, item: Measure): Measure {
  const between = before.last * item.first;
  const all = addUp([before.all, item.all, { ways: 0, steps: between }]);
  return {
    ways: before.length === null ? before.ways + item.all.ways : Math.max(before.ways, item.ways),
    steps:
      before.length === null
        ? before.steps + item.all.steps + between
        : Math.max(before.steps, item.steps) + between,
    all,
    first: before.first + (before.canBeEmpty ? item.first : 0),
    last: item.last + (item.canBeEmpty ? before.last : 0),
    canBeEmpty: before.canBeEmpty && item.canBeEmpty,
    length: before.length === null || item.length === null ? null : before.length + item.length,
  };
}

function measureChoice(options: readonly Measure[]): Measure {
  const [first, ...more] = options;
  return {
    ...addUp(options),
    all: addUp(options.map(({ all }) => all)),
    first: options.reduce((sum, option) => sum + option.first, 0),
    last: options.reduce((sum, option) => sum + option.last, 0),
    canBeEmpty: options.some(({ canBeEmpty }) => canBeEmpty),
    length: first !== undefined && more.every(({ length }) => length === first.length) ? first.length : null,
  };
}

/** A repetition without end is not counted: having read it five times or six is the same. */
function measureRepeat(item: Measure, least: number, most: number | null): Measure {
  const times = most ?? least + 1;
  const again = item.last * item.first;
  // What may be empty may be left out: from each time to each that comes later. Without end, the last leads to itself.
  const turns =
    (item.canBeEmpty ? (times * (times - 1)) / 2 : Math.max(0, times - 1)) + (most === null ? 1 : 0);
  const all = { ways: item.all.ways * times + 1, steps: item.all.steps * times + again * turns };
  const isOneLength = item.length !== null;
  return {
    // Of items of one length, only one can be the one that is being read.
    ways: isOneLength ? item.ways + 1 : all.ways,
    steps: isOneLength ? item.steps + again : all.steps,
    all,
    first: item.first * (item.canBeEmpty ? times : Math.min(1, times)),
    last: item.last * (item.canBeEmpty ? times : times - Math.max(0, least - 1)),
    canBeEmpty: least === 0 || item.canBeEmpty,
    length: item.length !== null && least === most ? item.length * least : null,
  };
}
