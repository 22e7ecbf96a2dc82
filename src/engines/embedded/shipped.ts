/**
 * Where node-llama-cpp's package of libraries for this platform lies. Finds, loads nothing: who only asks shall not pay for
 * the package itself.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The packages' names where they are not simply platform and processor. */
const packages: Readonly<Record<string, string>> = {
  "darwin-arm64": "mac-arm64-metal",
  "darwin-x64": "mac-x64",
  "win32-arm64": "win-arm64",
  "win32-x64": "win-x64",
};

/** The folder of llama.cpp's libraries and of the addon that drives them; null where none came with the installation. */
export function findShippedLibraries(): string | null {
  const platform = `${process.platform}-${process.arch}`;
  const name = packages[platform] ?? platform;
  const require = createRequire(createRequire(import.meta.url).resolve("node-llama-cpp"));
  try {
    const folder = join(dirname(require.resolve(`@node-llama-cpp/${name}`)), "../bins", name);
    return existsSync(join(folder, "llama-addon.node")) ? folder : null;
  } catch {
    return null; // There is no package for this platform.
  }
}
