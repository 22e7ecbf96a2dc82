/**
 * The `extra_args` the embedded engine understands, as one table. Pure. Everything that is not in the table is refused
 * by name: an argument that is silently dropped would be a promise that is not kept.
 */

export type EngineArguments = {
  /** Tokens one request may take (prompt and answer); null: the model's own, as far as memory goes. */
  readonly contextTokens: number | null;
  /** Threads that compute; null: the installation's setting. */
  readonly threads: number | null;
};

type Outcome = { ok: true; value: EngineArguments } | { ok: false; reason: string };

const table = {
  "--ctx-size": { field: "contextTokens", min: 16, max: 10_000_000 },
  "--threads": { field: "threads", min: 1, max: 256 },
} as const;

/** Accepts `--name N` and `--name=N`; the last of a repeated argument counts. */
export function parseEngineArguments(extraArgs: readonly string[]): Outcome {
  const value = { contextTokens: null as number | null, threads: null as number | null };
  for (let at = 0; at < extraArgs.length; at++) {
    const [name = "", inline] = (extraArgs[at] ?? "").split("=", 2);
    const known = Object.hasOwn(table, name) ? table[name as keyof typeof table] : null;
    if (known === null) {
      const allowed = Object.keys(table).join(", ");
      return {
        ok: false,
        reason: `The embedded engine has no argument ${printable(name)}; it takes ${allowed}.`,
      };
    }
    const given = inline ?? extraArgs[++at] ?? "";
    const number = /^\d{1,9}$/.test(given) ? Number(given) : Number.NaN;
    if (!(number >= known.min && number <= known.max)) {
      return { ok: false, reason: `${name} takes a whole number from ${known.min} to ${known.max}.` };
    }
    value[known.field] = number;
  }
  return { ok: true, value };
}

/** What was given, short and on one line, as it goes into a sentence. */
function printable(name: string): string {
  return JSON.stringify(name.slice(0, 60));
}
