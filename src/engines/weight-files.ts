/**
 * Which files of a repository are worth having when no engine has been asked: for looking at it, and for fetching it
 * ahead. Pure.
 */

import type { ChooseFiles } from "../ports/hub.ts";
import { chooseGgufFiles } from "./gguf-files.ts";
import { chooseSafetensorsFiles } from "./safetensors-files.ts";

/** A quantization means GGUF; else safetensors where there are some, else the GGUF file that is usual. */
export function weightFilesChooser(options: { readonly allowPickle: boolean }): ChooseFiles {
  return (listing, quantization) => {
    if (quantization !== null) return chooseGgufFiles(listing, quantization);
    const safetensors = chooseSafetensorsFiles(listing, options);
    if (safetensors.ok || !listing.files.some(({ path }) => /\.gguf$/i.test(path))) return safetensors;
    return chooseGgufFiles(listing, null);
  };
}
