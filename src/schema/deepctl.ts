/** The wire shapes of what deepctl asks beside the API. */
import { z } from "zod";

export const cliVersionQuery = z.object({
  version: z
    .string()
    .max(64)
    .regex(/^\d+(\.\d+)*([.+-][0-9A-Za-z.+-]*)?$/),
});
export const cliVersionOut = z.object({ min: z.string(), update: z.string(), latest: z.string() });
export const cliLoginQuery = z.object({ login_id: z.string().max(256) });
