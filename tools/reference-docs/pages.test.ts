import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { referencePages } from "./pages.ts";

it.each([...(await referencePages())])(
  "docs/reference/%s says what the code says (npm run docs)",
  (name, content) => {
    expect(readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), "utf8")).toBe(content);
  },
);
