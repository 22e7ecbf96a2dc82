import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Store } from "../ports/store.ts";
import { openStore } from "../store/store.ts";
import { openVault } from "../store/vault.ts";
import { hashToken } from "./auth.ts";
import { type FirstStart, prepareInstallation } from "./first-start.ts";

let home: string;
let store: Store;
let ids = 0;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "berth-first-"));
  store = await openStore({ home, databaseUrl: null });
});
afterEach(async () => {
  await store.close();
  rmSync(home, { recursive: true });
});

function start(account: string, fixedToken: string | null = null): Promise<FirstStart> {
  return prepareInstallation({
    ...{ store, home, account, fixedToken, withStarter: false },
    vault: openVault({ home, secretKeyHex: null }),
    clock: { now: () => 0, sleep: async () => undefined },
    newId: () => {
      ids += 1;
      return String(ids).padStart(16, "0");
    },
  });
}

const tokenFile = () => join(home, "token");
const kept = () => readFileSync(tokenFile(), "utf8").trim();
const ownerOf = async (secret: string) => (await store.tokenByHash(hashToken(secret)))?.account ?? null;

test("a token is generated once, kept for this user alone, and shown once", async () => {
  const first = await start("ada");
  expect(first).toEqual({ account: "ada", newToken: kept(), tokenFile: tokenFile() });
  expect(statSync(tokenFile()).mode & 0o777).toBe(0o600);
  expect(await start("ada")).toEqual({ ...first, newToken: null });
});

test("a lost file brings a new token in place of the old one; a revoked one stays revoked", async () => {
  const { newToken: old = "" } = await start("ada");
  rmSync(tokenFile());
  const { newToken } = await start("ada");
  expect(newToken).not.toBe(old);
  expect(await ownerOf(old ?? "")).toBeNull();
  const [token] = await store.tokens("ada");
  await store.removeToken("ada", token?.id ?? "");
  await start("ada");
  expect(await store.tokens("ada")).toEqual([]);
});

test("BERTH_API_TOKEN replaces what was there; without it again, a token is generated that works", async () => {
  await start("ada");
  await start("ada", "fixed-token-0123456789");
  expect(existsSync(tokenFile())).toBe(false);
  expect(await store.tokens("ada")).toHaveLength(1);
  await start("ada", "other-token-0123456789");
  expect(await ownerOf("fixed-token-0123456789")).toBeNull();
  expect((await start("ada")).newToken).toBe(kept());
  expect(await ownerOf(kept())).toBe("ada");
  expect(await store.tokens("ada")).toHaveLength(1);
});

test("another BERTH_ACCOUNT gets a token of its own, and BERTH_API_TOKEN goes over to it", async () => {
  const { newToken: adas = "" } = await start("ada");
  expect((await start("bob")).newToken).toBe(kept());
  expect(await ownerOf(adas ?? "")).toBe("ada");
  expect(await ownerOf(kept())).toBe("bob");
  await start("ada", "fixed-token-0123456789");
  await start("bob", "fixed-token-0123456789");
  expect(await ownerOf("fixed-token-0123456789")).toBe("bob");
});
