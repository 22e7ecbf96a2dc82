/**
 * How a command ends: the exit codes and the one error class that carries a code and a sentence for a person. Must not
 * print; `program.ts` does.
 */

/** Documented in `berth --help`. 130 is what shells report for a program ended by Ctrl-C. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  notFound: 4,
  denied: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Thrown into what is under way when the person presses Ctrl-C, or when nobody reads the output any more. */
export class Interrupted extends Error {}

/** Carries what `serve` or `down` of `CliDeps` threw through the command line, which has nothing to say about it. */
export class LocalError extends Error {}

/** Ends a command. The message is one or two plain sentences, or null when all has been said already. */
export class CliError extends Error {
  readonly exitCode: number;
  readonly isSilent: boolean;

  constructor(exitCode: number, message: string | null) {
    super(message ?? "");
    this.name = "CliError";
    this.exitCode = exitCode;
    this.isSilent = message === null;
  }
}
