/**
 * The kinds of values settings have: numbers with bounds, switches, lists, and the rules for what is in a list. Each says in
 * its error what is allowed. Must not name a single setting.
 */
import { z } from "zod";
import { parseIpRange } from "./core/ip-range.ts";
import { readTargets } from "./core/webhook.ts";

export const wholeNumber = (min: number, max: number) => {
  const rule = `a whole number from ${min} to ${max}`;
  return z.preprocess(
    (value) => (typeof value === "string" && /^\d{1,15}$/.test(value.trim()) ? Number(value) : value),
    z.number(rule).int(rule).min(min, rule).max(max, rule),
  );
};
export const seconds = (min: number, max: number) => wholeNumber(min, max);
/** Of a whole. */
export const part = (() => {
  const rule = "a number from 0.01 to 1";
  return z.preprocess(
    (value) => (typeof value === "string" && /^\d?(\.\d{1,6})?$/.test(value.trim()) ? Number(value) : value),
    z.number(rule).min(0.01, rule).max(1, rule),
  );
})();
export const onOff = z.preprocess(
  (value) =>
    typeof value === "string"
      ? ({ on: true, true: true, "1": true, off: false, false: false, "0": false }[value.toLowerCase()] ??
        value)
      : value,
  z.boolean("on or off"),
);
/** `core/engine-memory`: MB in, bytes out. */
export const memoryRule = z.preprocess(
  (value) => (typeof value === "string" && /^\d{1,9}$/.test(value.trim()) ? Number(value) : value),
  z.union(
    [
      z.enum(["auto", "off"]),
      z
        .number()
        .int()
        .min(64)
        .max(100_000_000)
        .transform((megabytes) => megabytes * 2 ** 20),
    ],
    "auto, off or a whole number of MB from 64",
  ),
);
export const text = z.string("a text");
/** As docker(1) and podman(1) take it. Nothing in it could be read as an option. */
export const imageName = text.regex(
  /^[a-z0-9][\w.-]*(?::\d{1,5})?(?:\/[a-z0-9][\w.-]*)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/,
  "the name of an image, as registry/name:tag or registry/name@sha256:…",
);
export const httpUrl = z.url({ protocol: /^https?$/, error: "an http:// or https:// URL" });

/** The entries of a list that is separated by commas. */
export function listed(list: string): string[] {
  return list
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

export function areAddressRanges(list: string): boolean {
  return listed(list).every((range) => parseIpRange(range) !== null);
}

export function areOrigins(list: string): boolean {
  return listed(list).every((origin) => {
    if (origin === "*") return true;
    return (
      /^https?:\/\//i.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin.toLowerCase()
    );
  });
}

export function areTargets(list: string): boolean {
  return readTargets(listed(list)) !== null;
}
