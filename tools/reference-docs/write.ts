/** Writes the pages of docs/reference that are made from the code: `npm run docs`. */
import { writeFileSync } from "node:fs";
import { referencePages } from "./pages.ts";

for (const [name, content] of await referencePages()) {
  writeFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), content);
}
