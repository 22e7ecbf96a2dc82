/** The vault: what it seals opens with the same key and purpose, and with nothing else; its key file is private. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StoreError } from "./error.ts";
import { openVault } from "./vault.ts";

let home: string;
let keyFile: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "berth-vault-"));
  keyFile = join(home, "secret.key");
});
afterEach(() => rmSync(home, { recursive: true }));

const vaultOf = (hexDigit: string) => openVault({ home, secretKeyHex: hexDigit.repeat(64) });

describe("a sealed text", () => {
  test("opens for its purpose, and never looks the same twice", () => {
    const vault = vaultOf("a");
    const text = fc.string({ unit: "binary", maxLength: 50 });
    fc.assert(
      fc.property(text, fc.string({ maxLength: 20 }), (plain, purpose) => {
        const sealed = vault.seal(plain, purpose);
        expect(vault.open(sealed, purpose)).toBe(plain);
        expect(vault.seal(plain, purpose)).not.toBe(sealed);
        expect(() => vault.open(sealed, `${purpose}x`)).toThrow(StoreError);
      }),
    );
  });

  test("does not open after any one character was changed, or with some cut off", () => {
    const vault = vaultOf("a");
    const sealed = vault.seal("hf_secret", "hf-token");
    for (let at = 0; at < sealed.length; at += 1) {
      const other = sealed[at] === "A" ? "B" : "A";
      const altered = `${sealed.slice(0, at)}${other}${sealed.slice(at + 1)}`;
      expect(() => vault.open(altered, "hf-token"), altered).toThrow(StoreError);
      expect(() => vault.open(sealed.slice(0, at), "hf-token")).toThrow(StoreError);
    }
  });

  test("does not open with another key, and the error names both keys but no secret", () => {
    const sealed = vaultOf("a").seal("hf_secret", "hf-token");
    const other = vaultOf("b");
    const ids = [sealed, other.seal("", "")].map((text) => text.split(".")[1]);
    expect(() => other.open(sealed, "hf-token")).toThrow(
      new RegExp(`sealed with the key ${ids[0]}, but this installation has the key ${ids[1]}`),
    );
    expect(sealed).toMatch(/^v1\.[0-9a-f]{8}\./);
    expect(sealed).not.toContain(Buffer.from("hf_secret").toString("base64url"));
  });
});

describe("the key file", () => {
  test("is made once, private and whole, and used again", () => {
    const folder = join(home, "new");
    const first = openVault({ home: folder, secretKeyHex: null });
    const file = join(folder, "secret.key");
    expect(readdirSync(folder)).toEqual(["secret.key"]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readFileSync(file, "latin1")).toMatch(/^[0-9a-f]{64}\n$/);
    const again = openVault({ home: folder, secretKeyHex: null });
    expect(again.open(first.seal("x", "p"), "p")).toBe("x");
  });

  test("is not made when the setting holds a key", () => {
    vaultOf("a");
    expect(readdirSync(home)).toEqual([]);
  });

  test("is made private when it is not", () => {
    writeFileSync(keyFile, "a".repeat(64));
    chmodSync(keyFile, 0o644);
    const sealed = vaultOf("a").seal("x", "p");
    expect(openVault({ home, secretKeyHex: null }).open(sealed, "p")).toBe("x");
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  });

  test.each(["", "a".repeat(63), "a".repeat(65), `${"a".repeat(64)}\nmore`, "g".repeat(64)])(
    "is refused and kept when it does not hold a key: %j",
    (content) => {
      writeFileSync(keyFile, content, { mode: 0o600 });
      expect(() => openVault({ home, secretKeyHex: null })).toThrow(
        /secret\.key does not hold 64 hex.*backup/,
      );
      expect(readFileSync(keyFile, "latin1")).toBe(content);
    },
  );

  test("is refused when it is a link", () => {
    symlinkSync("/dev/zero", keyFile);
    expect(() => openVault({ home, secretKeyHex: null })).toThrow(/secret\.key cannot be opened/);
  });

  test("a setting that is no key is refused without being repeated", () => {
    expect(() => openVault({ home, secretKeyHex: "abc" })).toThrow(/^BERTH_SECRET_KEY must be 64 hex/);
  });
});
