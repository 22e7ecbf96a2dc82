/** The error shapes of the deploy API as clients read them; `errors.ts` owns the codes behind them. */
import { z } from "zod";

export const deepErrorOut = z.object({ error: z.string() });

/** FastAPI's validation answer; that of `POST /deploy/llm` carries `error`, one readable sentence, as well. */
export const validationErrorOut = z.object({
  detail: z.array(
    z.object({
      loc: z.array(z.union([z.string(), z.int()])),
      msg: z.string(),
      type: z.string(),
    }),
  ),
  error: z.string().optional(),
});
