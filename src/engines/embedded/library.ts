/**
 * Opens llama.cpp's library as node-llama-cpp ships it for this platform. The package's own way in loads it in a process of its
 * own first, to see whether that survives, which doubles the time to the first token; the embedded engine is such a process
 * already, and its end is told. Must not know models.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { getLlama, Llama, LlamaLogLevel } from "node-llama-cpp";

/** What `getLlama` passes on, once it has found and tried a library. */
type CreateLlama = (options: object) => Promise<Llama>;

const bufferLine = /^\s*\w+:\s+\S+\s+\w+ buffer size\s*=\s*[\d.]+ MiB\s*$/;

/** Only the CPU computes. @param log gets llama.cpp's errors, and the sizes of its buffers */
export async function openLibrary(threads: number, log: (message: string) => void): Promise<Llama> {
  const shared = {
    // What is not an error is passed over, but for the sizes of what it allocates. It says nothing at this level while it computes.
    logLevel: LlamaLogLevel.info,
    logger: (level: LlamaLogLevel, message: string) => {
      const isError = level === LlamaLogLevel.error || level === LlamaLogLevel.fatal;
      if (isError || bufferLine.test(message)) log(message);
    },
    maxThreads: threads,
  };
  const shipped = findShipped();
  if (shipped === null) {
    return await getLlama({ ...shared, gpu: false, build: "never", progressLogs: false });
  }
  const create = (Llama as unknown as { readonly _create?: CreateLlama })._create;
  if (create === undefined)
    throw new Error("This version of node-llama-cpp opens its library in another way.");
  return await create.call(Llama, {
    ...shared,
    bindings: shipped.load(),
    bindingPath: shipped.path,
    buildType: "prebuilt",
    buildMetadata: shipped.metadata,
    vramPadding: 0,
    // What its own check leaves for others, as `getLlama` sets it on Linux.
    ramPadding: (totalBytes: number) => Math.floor(Math.min(totalBytes / 4, 2 ** 30)),
    ...{ debug: false, numa: false, tempDir: false },
  });
}

type Shipped = { readonly path: string; readonly metadata: unknown; load(): unknown };

/** Null where the package brings none for this platform, or is not known to need no trial: it says then what is wrong. */
function findShipped(): Shipped | null {
  if (process.platform !== "linux") return null;
  const name = `${process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve("node-llama-cpp"));
  let entry: string;
  try {
    entry = require.resolve(`@node-llama-cpp/${name}`);
  } catch {
    return null; // The package says in its own words that it has none.
  }
  const folder = join(dirname(entry), "../bins", name);
  const path = join(folder, "llama-addon.node");
  if (!existsSync(path)) return null;
  const metadata: unknown = JSON.parse(readFileSync(join(folder, "_nlcBuildMetadata.json"), "utf8"));
  return { path, metadata, load: () => require(path) };
}
