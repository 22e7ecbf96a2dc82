import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SettingsError } from "./settings.ts";
import { makeHome, readPrices, readSettingsFile, readTls } from "./settings-files.ts";
import { readSettings } from "./settings-read.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-settings-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the home folder", () => {
  it("is made with its parents", () => {
    const home = join(folder, "a", "b c", "d\u00fc");
    makeHome(home);
    makeHome(home);
    expect(existsSync(home)).toBe(true);
  });

  it.each(["file", "file/below"])("is refused by name where it cannot be: %s", (name) => {
    writeFileSync(join(folder, "file"), "");
    const make = () => makeHome(join(folder, name));
    expect(make).toThrow(SettingsError);
    expect(make).toThrow(/BERTH_HOME is .*file.*, which cannot be made or written/);
  });

  it.runIf(process.platform === "linux")("is refused, not tried for ever, where nothing can be made", () => {
    expect(() => makeHome("/proc/berth")).toThrow(/BERTH_HOME is \/proc\/berth, .*\(ENOENT\)/);
  });
});

describe("berth.yaml", () => {
  it("may be missing, also because the home is no folder", () => {
    writeFileSync(join(folder, "file"), "port: 1");
    expect(readSettingsFile(join(folder, "berth.yaml"))).toBeNull();
    expect(readSettingsFile(join(folder, "file", "berth.yaml"))).toBeNull();
    expect(readSettingsFile(join(folder, "file"))).toBe("port: 1");
  });

  it("is refused by name when it cannot be read", () => {
    mkdirSync(join(folder, "berth.yaml"));
    expect(() => readSettingsFile(join(folder, "berth.yaml"))).toThrow(
      /berth\.yaml cannot be read \(EISDIR\)/,
    );
  });
});

describe("certificate and key", () => {
  const read = (cert: string, key: string) =>
    readTls(readSettings({ BERTH_TLS_CERT: join(folder, cert), BERTH_TLS_KEY: join(folder, key) }, null));

  it("are not needed", () => {
    expect(readTls(readSettings({}, null))).toBeNull();
  });

  it("are refused by name when they cannot be read or are none", () => {
    writeFileSync(join(folder, "text"), "no certificate");
    expect(() => read("missing", "text")).toThrow(
      /BERTH_TLS_CERT is .*missing, which cannot be read \(ENOENT\)/,
    );
    expect(() => read("text", "missing")).toThrow(
      /BERTH_TLS_KEY is .*missing, which cannot be read \(ENOENT\)/,
    );
    expect(() => read("text", "text")).toThrow(SettingsError);
    expect(() => read("text", "text")).toThrow(/BERTH_TLS_CERT is .*; allowed: a certificate and its key/);
  });
});

describe("the prices", () => {
  const read = (text: string) => {
    const path = join(folder, "prices.yaml");
    writeFileSync(path, text);
    return readPrices(readSettings({ BERTH_PRICES: path }, null));
  };

  it("are none unless they are set", () => {
    expect(readPrices(readSettings({}, null)).models.size).toBe(0);
    expect(read("").gpus.size).toBe(0);
  });

  it("are read by model and by GPU", () => {
    const prices = read(
      `models: { "a/b": { input: 1, output: 2 }, "*": { output: 3, cached: 0.5 } }\ngpus: { other: 0.5 }`,
    );
    expect([...prices.models]).toEqual([
      ["a/b", { inputUsd: 1, outputUsd: 2, cachedUsd: 1 }],
      ["*", { inputUsd: 0, outputUsd: 3, cachedUsd: 0.5 }],
    ]);
    expect(prices.gpus.get("other")).toBe(0.5);
  });

  it.each([
    ["models: { a/b: { input: -1 } }", /models\.a\/b\.input/],
    ["gpu: {}", /the file/],
    ["gpus: { other: free }", /gpus\.other/],
    ["a: b: c", /cannot be read/],
  ])("are refused by name: %s", (text, words) => {
    expect(() => read(text)).toThrow(SettingsError);
    expect(() => read(text)).toThrow(words);
  });

  it("are refused where the file is missing", () => {
    expect(() => readPrices(readSettings({ BERTH_PRICES: "/nowhere/p.yaml" }, null))).toThrow(/ENOENT/);
  });
});
