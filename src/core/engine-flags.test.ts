import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FlagTable, readFlags } from "./engine-flags.ts";

const table: FlagTable = {
  engine: "sample",
  flags: {
    "max-model-len": { kind: "integer", min: 1, max: 1_000_000 },
    "max-num-seqs": { kind: "integer", min: 1, max: 1024 },
    "memory-share": { kind: "number", min: 0.1, max: 0.95 },
    "prefix-caching": { kind: "switch", negatable: true },
    eager: { kind: "switch" },
    dtype: { kind: "choice", choices: ["auto", "half"] },
    "call-parser": { kind: "name" },
    "limit-media": { kind: "counts", keys: ["image", "video"] },
  },
  short: { n: "max-num-seqs" },
};
const read = (...args: string[]) => readFlags(args, table);
const reasonOf = (...args: string[]) => {
  const outcome = read(...args);
  return outcome.ok ? null : outcome.reason;
};

describe("an engine's own arguments", () => {
  test.each([
    [
      ["--max-model-len", "4096"],
      ["--max-model-len", "4096"],
    ],
    [["--max_model_len=4096"], ["--max-model-len", "4096"]],
    [["--max-model-len 4096"], ["--max-model-len", "4096"]],
    [
      ["--max-mod", "4096"],
      ["--max-model-len", "4096"],
    ],
    [
      ["-n", "4"],
      ["--max-num-seqs", "4"],
    ],
    [
      ["--memory_share", "0.90"],
      ["--memory-share", "0.9"],
    ],
    [
      ["--no-prefix_caching", "--eager"],
      ["--no-prefix-caching", "--eager"],
    ],
    [["--no-prefix-caching", "--prefix-caching"], ["--prefix-caching"]],
    [
      ["--dtype", "auto", "--dtype", "half"],
      ["--dtype", "half"],
    ],
    [
      ["--limit-media", '{"image": 2}'],
      ["--limit-media", '{"image":2}'],
    ],
    [
      ["--limit-media.image", "2", "--limit_media.video=0"],
      ["--limit-media", '{"image":2,"video":0}'],
    ],
  ])("%j", (given, expected) => {
    expect(read(...given)).toEqual({ ok: true, value: expected });
  });

  test.each([
    [["--max-", "4"], /could be --max-model-len, --max-num-seqs/],
    [["--max-model-len", "many"], /--max-model-len takes a whole number from 1 to 1000000/],
    [["--max-model-len"], /takes a whole number/],
    [["--eager=1"], /--eager takes no value/],
    [["--no-eager"], /takes no argument "--no-eager"/],
    [["--dtype", "float128"], /--dtype takes one of auto, half/],
    [["--call-parser", "a.b"], /takes a name/],
    [["--limit-media", '{"image":-1}'], /a JSON object of whole numbers with the keys image, video/],
    [["--limit-media", '{"__proto__":1}'], /a JSON object/],
    [["--dtype.x", "auto"], /takes no argument "--dtype.x"/],
    [["-x", "1"], /takes no argument "-x"/],
    [["--host", "0.0.0.0"], /"--host": Berth decides where and how an engine listens/],
    [["--hos=0.0.0.0"], /Berth decides where/],
    [["--trust_remote_code"], /an engine may run no other code/],
    [["--api-key", "x"], /Berth decides who may call/],
    [["--call-parser", "/etc/passwd"], /looks like a path/],
    [["--constructor"], /takes no argument/],
  ])("%j is refused by name", (given, reason) => {
    expect(reasonOf(...given)).toMatch(reason);
  });

  test("a flag that this version has not is refused", () => {
    const older = { ...table, known: new Set(["eager"]) };
    expect(readFlags(["--eager"], older)).toMatchObject({ ok: true });
    expect(readFlags(["--dtype", "auto"], older)).toEqual({
      ok: false,
      reason: "This version of the sample engine has no --dtype.",
    });
  });

  test("only flags of the list come out, each with a value of its type, and reading again changes nothing", () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom("--", "-", "--max-model-len", "--max_num_seqs", "--no-prefix-caching", "--eager", "="),
      fc.constantFrom(
        "--limit-media.image",
        '{"image":3}',
        "--dtype=half",
        "half",
        "--host",
        "--memory-share",
      ),
      fc.integer({ min: -3, max: 3000 }).map(String),
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.array(piece, { maxLength: 2 }).map((parts) => parts.join("")),
          { maxLength: 6 },
        ),
        (args) => {
          const outcome = readFlags(args, table);
          if (!outcome.ok) {
            expect(outcome.reason).toMatch(/[.]$/);
            return;
          }
          for (const arg of outcome.value.filter((one) => one.startsWith("--"))) {
            expect(Object.keys(table.flags)).toContain(arg.slice(2).replace(/^no-/, ""));
          }
          expect(readFlags(outcome.value, table)).toEqual(outcome);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("no spelling of a refused argument passes", () => {
    const names = [
      "host",
      "port",
      "api-key",
      "model",
      "chat-template",
      "download-dir",
      "trust-remote-code",
      "ssl-keyfile",
      "middleware",
      "worker-cls",
    ];
    const spelling = fc
      .tuple(
        fc.constantFrom(...names),
        fc.constantFrom("-", "_"),
        fc.constantFrom("", "=1", " 1", ".x"),
        fc.boolean(),
      )
      .map(([name, joint, after, isCapital]) => {
        const spelled = name.replaceAll("-", joint);
        return `--${isCapital ? spelled.toUpperCase() : spelled}${after}`;
      });
    fc.assert(
      fc.property(spelling, (arg) => {
        expect(readFlags([arg, "1"], table)).toMatchObject({ ok: false });
      }),
    );
  });
});
