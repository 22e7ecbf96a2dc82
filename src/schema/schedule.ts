/**
 * The wire shape of a schedule: other minimums by weekday and hour, an extension of DeepInfra's `settings`. Says what a field
 * may be by itself; whether a time zone is known, and what rules mean together, is the API room's.
 */
import { z } from "zod";
import { laxInt } from "./lax.ts";

/** Equal to the core's list; a test compares them. */
export const dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

const maxRules = 50;

export const scheduleRuleIn = z.object({
  /** Days on which it begins; absent: every day. */
  days: z.array(z.enum(dayNames)).min(1).max(7).optional(),
  /** 24 hours, on the clock of the time zone. */
  from: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/),
  /** One that is not later than `from` is the next day's. */
  until: z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/),
  /** Takes the place of `min_instances` while the rule holds; of several the highest counts. */
  min_instances: laxInt(z.int().min(0)),
});

export const scheduleIn = z.object({
  /** A name of the IANA database, for example Europe/Berlin. */
  time_zone: z.string().max(64).default("UTC"),
  rules: z.array(scheduleRuleIn).max(maxRules),
});
export type ScheduleIn = z.output<typeof scheduleIn>;

export const scheduleOut = z.object({
  time_zone: z.string(),
  rules: z.array(
    z.object({
      days: z.array(z.enum(dayNames)),
      from: z.string(),
      until: z.string(),
      min_instances: z.int(),
    }),
  ),
});
export type ScheduleOut = z.output<typeof scheduleOut>;
