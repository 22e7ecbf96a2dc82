/**
 * In how many ways a text may have been read so far by a regular expression, at most: whoever follows an expression follows all of
 * them side by side, and chooses each token against every one. `((a{0,46}){0,46}){0,46}` has some ten thousand after a few letters.
 * Pure, linear in the size of the expression; an upper bound.
 */
import type { RegexNode, RegexOption } from "./regex.ts";

type Measure = {
  /** Ways at once where all that came before was read in one way. */
  readonly ways: number;
  /** Places in it, which is the ways at once where it may have begun at many times. */
  readonly places: number;
  /** All its texts are of this length; null where they differ. */
  readonly length: number | null;
};

/** Where the whole text is what the expression says. */
export function waysToMatch(options: readonly RegexOption[]): number {
  return options.reduce((sum, { node }) => sum + measure(node).ways, 0);
}

/** Where it is to be found somewhere in the text, unless it is tied to its beginning: then it may begin at any character. */
export function waysToFind(options: readonly RegexOption[]): number {
  return options.reduce((sum, { node, isTiedToStart }) => {
    const { ways, places } = measure(node);
    return sum + (isTiedToStart ? ways : places);
  }, 0);
}

function measure(node: RegexNode): Measure {
  switch (node.kind) {
    case "chars":
      return { ways: 1, places: 1, length: 1 };
    case "sequence":
      return measureSequence(node.items.map(measure));
    case "choice":
      return measureChoice(node.options.map(measure));
    case "repeat":
      return measureRepeat(measure(node.item), node.least, node.most);
  }
}

/** After the first item whose texts differ in length, those behind it may have begun at several times. */
function measureSequence(items: readonly Measure[]): Measure {
  let length: number | null = 0;
  let [ways, places] = [1, 0];
  for (const item of items) {
    ways = length === null ? ways + item.places : Math.max(ways, item.ways);
    places += item.places;
    length = length === null || item.length === null ? null : length + item.length;
  }
  return { ways, places, length };
}

function measureChoice(options: readonly Measure[]): Measure {
  const [first, ...more] = options;
  return {
    ways: options.reduce((sum, option) => sum + option.ways, 0),
    places: options.reduce((sum, option) => sum + option.places, 0),
    length: first !== undefined && more.every(({ length }) => length === first.length) ? first.length : null,
  };
}

/** A repetition without end is not counted: having read it five times or six is the same. */
function measureRepeat(item: Measure, least: number, most: number | null): Measure {
  const times = most ?? least + 1;
  const places = item.places * times + 1;
  return {
    // Of items of one length, only one can be the one that is being read.
    ways: item.length === null ? places : item.ways + 1,
    places,
    length: item.length !== null && least === most ? item.length * least : null,
  };
}
