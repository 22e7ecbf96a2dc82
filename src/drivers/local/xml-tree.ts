/**
 * Reads the plain XML that GPU tools print: elements, attributes, text; no namespaces, no mixed content. Pure. What is not
 * well formed is null, never half a tree. Not for XML of others: it knows five entities and no document type.
 */
export type XmlElement = {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Its own text, trimmed. */
  readonly text: string;
};

type Open = { name: string; attributes: Record<string, string>; children: XmlElement[]; text: string };

const deepest = 40;
const pieces =
  /<\?[^>]*\?>|<!--[\s\S]*?-->|<![^>]*>|<\/([\w.:-]+)\s*>|<([\w.:-]+)((?:\s+[\w.:-]+="[^"]*")*)\s*(\/?)>|([^<]+)/gy;

/** The root element, or null. */
export function readXml(text: string): XmlElement | null {
  const root: Open = { name: "", attributes: {}, children: [], text: "" };
  const path: Open[] = [root];
  let end = 0;
  for (const match of text.matchAll(pieces)) {
    const [piece, closing, opening, attributes = "", isEmpty, plain] = match;
    end = match.index + piece.length;
    const top = path.at(-1);
    if (top === undefined) return null;
    if (plain !== undefined) top.text += plain;
    else if (opening !== undefined) {
      const element: Open = { name: opening, attributes: readAttributes(attributes), children: [], text: "" };
      top.children.push(element);
      if (isEmpty !== "/") path.push(element);
      if (path.length > deepest) return null;
    } else if (closing !== undefined) {
      if (path.length === 1 || top.name !== closing) return null;
      top.text = decode(top.text.trim());
      path.pop();
    }
  }
  const [only, ...more] = root.children;
  return end === text.length && path.length === 1 && more.length === 0 ? (only ?? null) : null;
}

/** The first element at a path of names below `from`. */
export function findElement(
  from: XmlElement | undefined,
  ...path: readonly string[]
): XmlElement | undefined {
  return path.reduce((at, name) => at?.children.find((child) => child.name === name), from);
}

/** Its text; "" where it is not there. */
export function textAt(from: XmlElement | undefined, ...path: readonly string[]): string {
  return findElement(from, ...path)?.text ?? "";
}

function readAttributes(text: string): Record<string, string> {
  const found = [...text.matchAll(/([\w.:-]+)="([^"]*)"/g)];
  return Object.fromEntries(found.map(([, name = "", value = ""]) => [name, decode(value)]));
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(\w+);/g, (whole, name: string) => entities[name] ?? whole);
}
