/** The starter's chat template renders here, with the library the engine uses, what its training rendered. */
import { readdirSync, readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import { expect, it } from "vitest";

type Golden = { readonly expected: string } & Readonly<Record<string, unknown>>;

const starter = new URL("../../starter/", import.meta.url);
const template = new Template(readFileSync(new URL("model/chat_template.jinja", starter), "utf8"));
const names = readdirSync(new URL("golden/", starter));

it.each(names)("golden/%s", (name) => {
  const { expected, ...input } = JSON.parse(
    readFileSync(new URL(`golden/${name}`, starter), "utf8"),
  ) as Golden;
  expect(template.render(input)).toBe(expected);
});
