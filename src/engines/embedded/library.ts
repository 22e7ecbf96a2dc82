/**
 * Opens llama.cpp's library as node-llama-cpp ships it for this platform. The package's own way in loads it in a process of its
 * own first, to see whether that survives: a second start of Node before the first token. The embedded engine is such a process
 * already, and its end is told. Must not know models.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { getLlama, Llama, LlamaLogLevel } from "node-llama-cpp";
import { findShippedLibraries } from "./shipped.ts";

/** What `getLlama` passes on, once it has found and tried a library. */
type CreateLlama = (options: object) => Promise<Llama>;

/** Only the CPU computes. @param log gets llama.cpp's errors */
export async function openLibrary(threads: number, log: (message: string) => void): Promise<Llama> {
  const shared = {
    logLevel: LlamaLogLevel.error,
    logger: (_level: LlamaLogLevel, message: string) => log(message),
    maxThreads: threads,
  };
  // Elsewhere the package makes no trial, and where it brings no library it says so in its own words.
  const folder = process.platform === "linux" ? findShippedLibraries() : null;
  if (folder === null) {
    return await getLlama({ ...shared, gpu: false, build: "never", progressLogs: false });
  }
  const create = (Llama as unknown as { readonly _create?: CreateLlama })._create;
  if (create === undefined)
    throw new Error("This version of node-llama-cpp opens its library in another way.");
  const path = join(folder, "llama-addon.node");
  return await create.call(Llama, {
    ...shared,
    bindings: createRequire(import.meta.url)(path) as unknown,
    bindingPath: path,
    buildType: "prebuilt",
    buildMetadata: JSON.parse(readFileSync(join(folder, "_nlcBuildMetadata.json"), "utf8")) as unknown,
    vramPadding: 0,
    // What its own check leaves for others, as `getLlama` sets it on Linux.
    ramPadding: (totalBytes: number) => Math.floor(Math.min(totalBytes / 4, 2 ** 30)),
    ...{ debug: false, numa: false, tempDir: false },
  });
}
