/**
 * Faults to order: what a bad network or a bad server does to an answer, as data. `on` is looked for in the decoded
 * path and query of a request; a fault without `times` stays.
 */
import { z } from "zod";

const common = {
  /** Text that the decoded path and query contain. */
  on: z.string(),
  method: z.enum(["GET", "HEAD"]).optional(),
  /** How often it strikes; always when absent. */
  times: z.number().int().min(1).optional(),
  /** How many requests it would strike go well before. */
  skip: z.number().int().min(0).default(0),
};
const bytes = z.number().int().min(0);

export const faultShape = z.discriminatedUnion("kind", [
  /** Another status instead of the answer. */
  z.strictObject({
    ...common,
    kind: z.literal("status"),
    status: z.number().int().min(400).max(599),
    retryAfter: z.string().optional(),
  }),
  /** A redirect to a URL instead of the answer; without `to`, to itself for ever. */
  z.strictObject({ ...common, kind: z.literal("redirect"), to: z.string().optional() }),
  /** Another body (with status 200) instead of the answer. */
  z.strictObject({ ...common, kind: z.literal("body"), text: z.string() }),
  /** Accepts the request and never answers. */
  z.strictObject({ ...common, kind: z.literal("silence") }),
  /** The answer, but only after a while. */
  z.strictObject({ ...common, kind: z.literal("late"), waitMs: z.number().int().min(0) }),
  /** The answer, with another ETag: the content is said to have changed. */
  z.strictObject({ ...common, kind: z.literal("etag"), value: z.string() }),
  /** Ignores Range and answers with the whole. */
  z.strictObject({ ...common, kind: z.literal("no-range") }),
  /** The connection is reset after so many bytes of the body. */
  z.strictObject({ ...common, kind: z.literal("reset"), afterBytes: bytes }),
  /** The body ends properly after so many bytes; `announced`: with a Content-Length that says so. */
  z.strictObject({
    ...common,
    kind: z.literal("truncate"),
    afterBytes: bytes,
    announced: z.boolean().default(false),
  }),
  /** The byte at this place of the body is another one. */
  z.strictObject({ ...common, kind: z.literal("corrupt"), atByte: bytes }),
  /** Nothing more comes after so many bytes, and the connection stays open. */
  z.strictObject({ ...common, kind: z.literal("stall"), afterBytes: bytes }),
  /** So many bytes per second. */
  z.strictObject({ ...common, kind: z.literal("slow"), bytesPerS: z.number().min(1) }),
]);
export type Fault = z.input<typeof faultShape>;
type ParsedFault = z.output<typeof faultShape>;
export type FaultKind = ParsedFault["kind"];

export type FaultBox = {
  /** Replaces all faults. */
  set(faults: readonly Fault[]): void;
  /** The first fault of one of these kinds that matches; counts as struck. */
  take<Kind extends FaultKind>(
    kinds: readonly Kind[],
    method: string,
    url: string,
  ): Extract<ParsedFault, { kind: Kind }> | null;
};

export function createFaultBox(): FaultBox {
  let faults: { fault: ParsedFault; left: number; skip: number }[] = [];
  return {
    set(wanted) {
      faults = z
        .array(faultShape)
        .parse(wanted)
        .map((fault) => ({ fault, left: fault.times ?? Number.POSITIVE_INFINITY, skip: fault.skip }));
    },
    take<Kind extends FaultKind>(kinds: readonly Kind[], method: string, url: string) {
      const found = faults.find((one) => {
        const { fault, left } = one;
        const isMeant =
          left > 0 &&
          (kinds as readonly FaultKind[]).includes(fault.kind) &&
          url.includes(fault.on) &&
          (fault.method === undefined || fault.method === method);
        if (!isMeant || one.skip === 0) return isMeant;
        one.skip -= 1;
        return false;
      });
      if (found === undefined) return null;
      found.left -= 1;
      return found.fault as Extract<ParsedFault, { kind: Kind }>;
    },
  };
}
