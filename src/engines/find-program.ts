/** Looks for a program as a shell would: absolute paths as they are, bare names on PATH. Runs nothing. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";

/** The first of the places that is a file this user may run, null for none. */
export async function findProgram(
  places: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<string | null> {
  const folders = (environment.PATH ?? "").split(delimiter).filter(isAbsolute);
  for (const place of places) {
    const candidates = isAbsolute(place) ? [place] : folders.map((folder) => join(folder, place));
    for (const candidate of candidates) if (await isProgram(candidate)) return candidate;
  }
  return null;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false; // Absent, or not for this user: as good as absent.
  }
}
