import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { banner } from "./banner.ts";

it("shows a line that a shell understands, wherever the token is kept", () => {
  const folder = mkdtempSync(join(tmpdir(), "berth 'a' \"b\" $c "));
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "secret\n");
  const input = { version: "1", url: "http://h", account: "ada", newToken: null, hasStarter: true };
  const line = banner({ ...input, tokenFile })
    .split("\n")
    .find((each) => each.startsWith("  curl "));
  const words = execFileSync("sh", ["-c", `curl() { printf '%s\\n' "$@"; }\n${line}`], { encoding: "utf8" });
  rmSync(folder, { recursive: true });
  expect(words.split("\n")).toContain("Authorization: Bearer secret");
  expect(banner({ ...input, tokenFile: "/home/ada/.berth/token" })).toContain(
    "$(cat /home/ada/.berth/token)",
  );
});
