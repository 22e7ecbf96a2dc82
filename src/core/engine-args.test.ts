import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refuseUnsafeArgs } from "./engine-args.ts";

describe("refuses by name", () => {
  test.each([
    "--host",
    "--host=0.0.0.0",
    "--host 0.0.0.0",
    "--HOST=0.0.0.0",
    "--hos=0.0.0.0",
    "--port",
    "--uds",
    "--root-path",
    "--root_path=x",
    "--ssl-keyfile",
    "--ssl_certfile",
    "--api-key",
    "--api_key=k",
    "--model",
    "--mod",
    "-m",
    "-hf",
    "-mu",
    "--served-model-name",
    "--tokenizer",
    "--tokenizer_mode",
    "--hf-overrides",
    "--hf-overrides.architectures",
    "--config",
    "-config",
    "--speculative-config",
    "--kv_transfer_config.x=1",
    "--download-dir",
    "--chat-template",
    "--lora",
    "--lora-modules",
    "--log-file",
    "--logits-processors",
    "--plugin",
    "--tool-parser-plugin",
    "--worker-cls",
    "--trust-remote-code",
    "--trust_remote_code",
    "--no-trust-remote-code",
    "--trust",
    "--allowed-local-media-path",
    "--rpc",
    "--master-addr",
    "--otlp-traces-endpoint",
    "--slot-save-path",
    "--",
    "-",
    "---",
    "--\u202ehost",
  ])("%s", (arg) => {
    const refusal = refuseUnsafeArgs(["--seed", "1", arg]);
    const flag = arg.split(/[= ]/)[0] ?? "";
    expect(refusal).toContain(JSON.stringify(flag).slice(1, -1));
    expect(refusal).toMatch(/\.$/);
  });
});

describe("refuses values that leave the engine's folder", () => {
  test.each([
    ["--seed", "/etc/passwd"],
    ["--seed=/etc/passwd"],
    ["--seed=~/x"],
    ["--seed", "~root"],
    ["--seed", "a/../../b"],
    ["--seed", ".."],
    ["--seed", "http://10.0.0.1/"],
    ["--seed=FILE://x"],
    ["--seed", '{"a": "/x"}'],
    ["--seed", "a,/x"],
    ["--seed", "a\0b"],
    ["--seed", "line\nbreak"],
    ["--seed", "\ud800"],
    ["evil/model"],
  ])("%s", (...args) => {
    expect(refuseUnsafeArgs(args)).toMatch(/^extra_args .*\.$/s);
  });
});

test.each([
  [[]],
  [["--max-model-len", "4096"]],
  [["--max_model_len=4096", "--enable-prefix-caching", "--enforce-eager"]],
  [["--gpu-memory-utilization", "0.9", "--dtype", "bfloat16", "--quantization", "fp8"]],
  [["--kv-cache-dtype=fp8", "--max-num-batched-tokens", "8192", "--max-num-seqs", "64"]],
  [["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1"]],
  [["--limit-mm-per-prompt", '{"image": 2}', "--seed", "-1", "--cpu-offload-gb", "-0.5"]],
  [["--rope-scaling", '{"rope_type":"yarn","factor":4.0}', "-c", "4096", "-ngl", "99", "--ctx-size", "8192"]],
  [["--override-kv", "tokenizer.ggml.add_bos_token=bool:false", "--flash-attn", "--temp", "0.2"]],
])("lets ordinary arguments pass: %j", (args) => {
  expect(refuseUnsafeArgs(args)).toBeNull();
});

test("however a refused name is written, it is refused", () => {
  const names = fc.constantFrom(
    "host",
    "port",
    "api-key",
    "model",
    "download-dir",
    "trust-remote-code",
    "config",
  );
  const spelling = fc.tuple(names, fc.boolean(), fc.boolean(), fc.constantFrom("", "=x", " x"));
  fc.assert(
    fc.property(spelling, ([name, isUpper, hasUnderscores, end]) => {
      let written = hasUnderscores ? name.replaceAll("-", "_") : name;
      if (isUpper) written = written.toUpperCase();
      expect(refuseUnsafeArgs([`--${written}${end}`])).not.toBeNull();
    }),
  );
});

test("never throws and never lets a path or URL pass", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary", maxLength: 30 }), { maxLength: 5 }), (args) => {
      const refusal = refuseUnsafeArgs(args);
      if (refusal === null) for (const arg of args) expect(arg).not.toMatch(/^[/~]|:\/\//);
    }),
  );
});
