/** Values out of a configuration that anybody may have written: each is what it should be, or it is not there. Pure. */

export type Config = Readonly<Record<string, unknown>>;

export const maxLayers = 4096;
export const maxSize = 2 ** 31;

/** The first of the names that holds a whole number from 1 to `max`. */
export function number(config: Config, names: readonly string[], max: number): number | null {
  for (const name of names) {
    const value = config[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max) return value;
  }
  return null;
}

export function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" && value.length <= 4096 ? value : null;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function asConfig(value: unknown): Config {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : {};
}
