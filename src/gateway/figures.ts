/**
 * The figures of one gateway process for another's page: asked for at the socket at which it hears the others, on a
 * connection of their own, since they may be large and must hold up no slot. Must not know what is counted.
 */
import { connect, type Socket } from "node:net";
import { z } from "zod";
import type { MetricFamily } from "../schema/exposition.ts";

const maxChars = 64 * 1024 * 1024;
/** As long as the page waits for control. */
const timeoutMs = 2_000;

/** JSON has no NaN. */
const value = z
  .number()
  .nullable()
  .transform((number) => number ?? Number.NaN);
const sample = z.object({ suffix: z.string().optional(), labels: z.record(z.string(), z.string()), value });
const families = z.array(
  z.object({
    name: z.string().max(128),
    help: z.string().max(1024),
    type: z.enum(["counter", "gauge", "histogram"]),
    samples: z.array(sample),
  }),
);

export function sendFigures(socket: Socket, figures: readonly MetricFamily[]): void {
  socket.end(JSON.stringify(figures));
}

/** Null when the process does not answer in time: it has ended, or is about to. */
export async function askForFigures(path: string): Promise<readonly MetricFamily[] | null> {
  const socket = connect(path);
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error("no answer")));
  socket.setEncoding("utf8");
  socket.write(`${JSON.stringify({ type: "figures" })}\n`);
  let text = "";
  try {
    for await (const piece of socket as AsyncIterable<string>) {
      text += piece;
      if (text.length > maxChars) throw new Error("the figures are too large");
    }
    // Without a suffix there is no such field.
    return families.parse(JSON.parse(text)).map((family) => ({
      ...family,
      samples: family.samples.map(({ suffix, ...rest }) =>
        suffix === undefined ? rest : { suffix, ...rest },
      ),
    }));
  } catch {
    return null; // the page says so by leaving that process out
  } finally {
    socket.destroy();
  }
}
