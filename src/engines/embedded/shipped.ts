/**
 * Where node-llama-cpp's package of libraries for this platform lies. Finds, loads nothing: who only asks shall not pay for
 * the package itself.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The folder of llama.cpp's libraries and of the addon that drives them; null where none came with the installation. */
export function findShippedLibraries(): string | null {
  const name = `${process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve("node-llama-cpp"));
  try {
    const folder = join(dirname(require.resolve(`@node-llama-cpp/${name}`)), "../bins", name);
    return existsSync(join(folder, "llama-addon.node")) ? folder : null;
  } catch {
    return null; // There is no package for this platform.
  }
}
