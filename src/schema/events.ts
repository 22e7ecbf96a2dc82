/**
 * `GET /deploy/{deploy_id}/events`, Berth's own: why a deployment is in the state it is in, and how far its download is.
 */
import { z } from "zod";

export const downloadProgressOut = z.object({
  bytes_done: z.number(),
  bytes_total: z.number(),
  /** Over the last seconds, 0 when stalled. */
  bytes_per_s: z.number(),
  /** Seconds left at that rate; null when it is stalled. */
  eta_s: z.number().nullable(),
  /** Repository paths of the files that are being fetched now. */
  files: z.array(z.string()),
});
export type DownloadProgressOut = z.output<typeof downloadProgressOut>;

export const eventOut = z.object({
  /** ISO 8601 with `+00:00`. */
  at: z.string(),
  /** Stable word for programs. */
  code: z.string(),
  text: z.string(),
  /** What to do next, "" when nothing is needed. */
  next: z.string(),
  inputs: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});
export type EventOut = z.output<typeof eventOut>;

/** Oldest event first. */
export const eventsOut = z.object({
  events: z.array(eventOut),
  progress: downloadProgressOut.nullable(),
});
export type EventsOut = z.output<typeof eventsOut>;

/** `GET /deploy/{deploy_id}/why`. */
export const whyOut = z.object({
  status: z.string(),
  /** What the status follows from. */
  facts: z.array(z.string()),
  /** What was asked for last, and what was decided since; oldest first. */
  chain: z.array(eventOut),
  /** What would lead to another state. */
  would_change: z.array(z.string()),
});
export type WhyOut = z.output<typeof whyOut>;
