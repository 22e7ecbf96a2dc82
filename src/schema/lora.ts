/** The wire shapes around LoRA adapters, which this version has none of. */
import { z } from "zod";

export const adapterListOut = z.array(z.never());
export const loraModelPath = z.object({ model_name: z.string() });
