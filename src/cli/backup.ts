/** `berth backup` and `berth restore`: the state of a Berth of this machine, to a file and back. Only passes on what to do. */
import type { Command } from "commander";
import type { Act, Cli } from "./context.ts";
import { localOptions, runLocally } from "./serve.ts";

const backupExamples = `
Examples:
  berth backup /mnt/backups/berth-monday.jsonl
  BERTH_HOME=/srv/berth berth backup berth.jsonl     also while it runs

The key that opens stored secrets ($BERTH_HOME/secret.key, or BERTH_SECRET_KEY) is not in it: keep it elsewhere. Weights
are not in it either; they are fetched again.`;

const restoreExamples = `
Examples:
  BERTH_HOME=/srv/berth berth restore /mnt/backups/berth-monday.jsonl

Takes an empty home (or an empty DATABASE_URL) that has the key of the Berth that was backed up. SQLite and PostgreSQL
take each other's backups.`;

export function addBackup(program: Command, act: Act): void {
  program
    .command("backup")
    .summary("write the state of the Berth on this machine to a file")
    .description("Writes the whole state, as of one moment, to a file. Berth may run meanwhile.")
    .argument("<file>", "file to write; one that is there is replaced")
    .addHelpText("after", backupExamples)
    .action(
      act((cli: Cli, file: string) => runLocally(() => cli.deps.backup({ ...localOptions(cli, {}), file }))),
    );
  program
    .command("restore")
    .summary("fill an empty state from a backup")
    .description("Fills an empty state from a backup, whole or not at all. Berth must not run meanwhile.")
    .argument("<file>", "file that `berth backup` wrote")
    .addHelpText("after", restoreExamples)
    .action(
      act((cli: Cli, file: string) => runLocally(() => cli.deps.restore({ ...localOptions(cli, {}), file }))),
    );
}
