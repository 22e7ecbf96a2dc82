/** A fake hub whose repositories hold the starter model, whole or spoilt, for tests of the whole. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FakeHub, startFakeHub } from "../../tools/fake-hub/server.ts";

export const starterFolder = new URL("../../starter/model", import.meta.url).pathname;
export const starterGguf = join(
  starterFolder,
  readdirSync(starterFolder).find((name) => name.endsWith(".gguf")) ?? "no GGUF in starter/model",
);

export type TestHub = FakeHub & { readonly root: string; end(): Promise<void> };

/**
 * acme/tiny, acme/other: the starter's GGUF. acme/secret: the same, private to "hf_alice". acme/licensed: gated. acme/weightless: no
 * weights. acme/tensors: safetensors alone. acme/broken: a GGUF that is none.
 */
export async function startTestHub(): Promise<TestHub> {
  const root = mkdtempSync(join(tmpdir(), "berth-hub-"));
  const put = (repo: string, files: Record<string, string | null>) => {
    mkdirSync(join(root, repo), { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      if (content === null) copyFileSync(starterGguf, join(root, repo, name));
      else writeFileSync(join(root, repo, name), content);
    }
  };
  put("acme/tiny", { "tiny-F16.gguf": null, "README.md": "tiny", "notes.bin": "x".repeat(1000) });
  put("acme/other", { "other-F16.gguf": null });
  put("acme/secret", { "tiny-F16.gguf": null });
  put("acme/licensed", { "tiny-F16.gguf": null });
  put("acme/weightless", { "README.md": "nothing here" });
  put("acme/tensors", { "model.safetensors": "not really", "config.json": "{}" });
  put("acme/broken", { "model-F16.gguf": `GGUF${"\0".repeat(4096)}` });
  writeFileSync(
    join(root, "access.json"),
    JSON.stringify({
      private: ["acme/secret"],
      gated: { "acme/licensed": "manual" },
      tokens: { hf_alice: ["acme/secret", "acme/licensed"], hf_bob: [] },
    }),
  );
  const hub = await startFakeHub({ root });
  return Object.assign(hub, {
    root,
    async end() {
      await hub.close();
      rmSync(root, { recursive: true, force: true });
    },
  });
}
