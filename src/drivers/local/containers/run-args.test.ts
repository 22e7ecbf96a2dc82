/**
 * What the runtimes are told, word for word, and that they read it as it is meant: by the part of their grammar that the stand-in
 * knows, and, where Docker's own client is on PATH, by that client, which then asks a socket of this test's to make the container.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseRun, readGpus, readMount } from "../../../../tools/fake-docker/run-options.ts";
import { type ContainerSpec, runArgs } from "./run-args.ts";

const spec: ContainerSpec = {
  runtime: { kind: "docker", users: "same" },
  name: "berth-0a-one",
  labels: { "io.berth.home": "/home/berth" },
  image: "docker.io/vllm/vllm-openai:v0.32.0",
  launch: { command: "vllm", args: ["serve", "/w/c", "--uds", "/run/s.sock"], env: { HF_HUB_OFFLINE: "1" } },
  furnished: {
    reads: ["/w/snapshots/c", "/w/blobs"],
    covers: [{ source: "/w/blobs/hash", at: "/w/stand/model" }],
    writes: ["/i/one/engine", "/run/one"],
  },
  folder: "/i/one/engine",
  user: { uid: 2_000_000_123, gid: 2_000_000_123 },
  gpus: ["GPU-a", "GPU-b"],
  memoryBytes: null,
};
const podman = { kind: "podman", users: "rootless-podman" } as const;

const valuesOf = (args: readonly string[], kind: "docker" | "podman") => parseRun(args.slice(1), kind).values;

describe("the arguments of run", () => {
  it("are these for Docker", () => {
    const args = runArgs(spec);
    expect(args.slice(0, args.indexOf("--env"))).toEqual([
      ...["run", "--rm", "--pull", "never", "--name", "berth-0a-one", "--label", "io.berth.home=/home/berth"],
      ...["--network", "none", "--hostname", "berth-engine", "--ipc", "private"],
      ...["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "label=disable"],
      ...["--read-only", "--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777,size=4g"],
      ...["--pids-limit", "16384", "--shm-size", "17179869184b", "--ulimit", "core=0"],
      ...["--oom-score-adj", "500", "--cpu-shares", "512", "--user", "2000000123:2000000123"],
      ...["--log-driver", "none", "--no-healthcheck", "--workdir", "/i/one/engine"],
      ...["--mount", "type=bind,source=/w/snapshots/c,destination=/w/snapshots/c,readonly"],
      ...["--mount", "type=bind,source=/w/blobs,destination=/w/blobs,readonly"],
      ...["--mount", "type=bind,source=/w/blobs/hash,destination=/w/stand/model,readonly"],
      ...["--mount", "type=bind,source=/i/one/engine,destination=/i/one/engine"],
      ...["--mount", "type=bind,source=/run/one,destination=/run/one"],
    ]);
    expect(args.slice(args.indexOf("--gpus"))).toEqual([
      ...["--gpus", '"device=GPU-a,GPU-b"', "--entrypoint", "vllm", "docker.io/vllm/vllm-openai:v0.32.0"],
      ...["serve", "/w/c", "--uds", "/run/s.sock"],
    ]);
    expect(parseRun(args.slice(1), "docker")).toMatchObject({ image: spec.image, args: spec.launch.args });
  });

  it("name the GPUs as each of them does, and none to an engine without", () => {
    expect(readGpus(valuesOf(runArgs(spec), "docker").gpus?.[0] ?? "")).toEqual(["GPU-a", "GPU-b"]);
    const values = valuesOf(runArgs({ ...spec, runtime: podman }), "podman");
    expect(values.device).toEqual(["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]);
    expect(values.env).toContain("NVIDIA_VISIBLE_DEVICES=void");
    for (const runtime of [spec.runtime, podman]) {
      const none = valuesOf(runArgs({ ...spec, runtime, gpus: [] }), runtime.kind);
      expect([none.gpus, none.device]).toEqual([undefined, undefined]);
      // Docker's --gpus sets it itself; without, an image made from NVIDIA's would ask for all.
      expect(none.env).toContain("NVIDIA_VISIBLE_DEVICES=void");
    }
    expect(valuesOf(runArgs(spec), "docker").env?.join()).not.toContain("NVIDIA_VISIBLE_DEVICES");
  });

  it.each([
    ["same", "docker", "7:8", undefined],
    ["remapped", "docker", "7:8", ["host"]],
    ["rootless-docker", "docker", "0:0", undefined],
    ["rootless-podman", "podman", "7:8", ["keep-id"]],
  ] as const)(
    "make the engine the user that owns its files where users are %s",
    (users, kind, user, space) => {
      const runtime = { kind, users };
      const values = valuesOf(runArgs({ ...spec, runtime, user: { uid: 7, gid: 8 } }), kind);
      expect([values.user, values.userns]).toEqual([[user], space]);
    },
  );

  it("bound memory without swap, and shared memory with it", () => {
    const values = valuesOf(runArgs({ ...spec, memoryBytes: 2 ** 30 }), "docker");
    expect([values.memory, values["memory-swap"], values["shm-size"]]).toEqual(
      Array.from({ length: 3 }, () => ["1073741824b"]),
    );
  });

  it("hand on no proxy, which may have a password", () => {
    expect(valuesOf(runArgs(spec), "docker").env).toEqual(
      expect.arrayContaining(["HTTPS_PROXY=", "https_proxy="]),
    );
    expect(valuesOf(runArgs({ ...spec, runtime: podman }), "podman")["http-proxy"]).toEqual(["false"]);
  });

  it("keep any path whole", () => {
    const path = fc.string({ unit: "binary", minLength: 1, maxLength: 40 }).map((text) => `/${text}`);
    fc.assert(
      fc.property(path, (source) => {
        const furnished = { reads: [], covers: [], writes: [source] };
        const [mount = ""] = valuesOf(runArgs({ ...spec, furnished }), "docker").mount ?? [];
        expect(readMount(mount)).toEqual({ source, at: source, isReadOnly: false });
      }),
    );
  });
});

const hasClient = spawnSync("docker", ["--version"], { encoding: "utf8" }).stdout?.startsWith(
  "Docker version",
);

describe.runIf(hasClient)("Docker's own client", () => {
  it("reads them as they are meant", async () => {
    const folder = mkdtempSync(join(tmpdir(), "berth-client-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    let asked: Record<string, unknown> | null = null;
    const daemon = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        if (request.url?.includes("/containers/create")) asked = JSON.parse(body);
        response.setHeader("Api-Version", "1.50").setHeader("Content-Type", "application/json");
        response.statusCode = request.url?.includes("_ping") ? 200 : 500;
        response.end('{"message":"enough is known"}');
      });
    }).listen(join(folder, "d.sock"));
    await once(daemon, "listening");
    onTestFinished(() => void daemon.close());
    const odd = '/w/a "b", c=d';
    const furnished = { ...spec.furnished, reads: [odd] };
    const client = spawn("docker", runArgs({ ...spec, furnished, memoryBytes: 2 ** 30 }), {
      env: { PATH: process.env.PATH, HOME: folder, DOCKER_HOST: `unix://${folder}/d.sock` },
      stdio: "ignore",
    });
    expect(await once(client, "exit")).toEqual([125, null]);
    expect(asked).toMatchObject({
      ...{ Image: spec.image, Entrypoint: ["vllm"], Cmd: spec.launch.args, User: "2000000123:2000000123" },
      ...{ AttachStdin: false, AttachStdout: true, AttachStderr: true, Tty: false },
      Env: expect.arrayContaining(["HF_HUB_OFFLINE=1", "HTTPS_PROXY=", "HOME=/i/one/engine"]),
      HostConfig: {
        ...{ AutoRemove: true, NetworkMode: "none", IpcMode: "private", CapDrop: ["ALL"], CapAdd: null },
        ...{
          ReadonlyRootfs: true,
          Memory: 2 ** 30,
          MemorySwap: 2 ** 30,
          ShmSize: 2 ** 30,
          PidsLimit: 16_384,
        },
        ...{ OomScoreAdj: 500, CpuShares: 512, LogConfig: { Type: "none" }, Binds: null, Privileged: false },
        SecurityOpt: ["no-new-privileges", "label=disable"],
        Tmpfs: { "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=4g" },
        DeviceRequests: [{ DeviceIDs: ["GPU-a", "GPU-b"], Count: 0, Capabilities: [["gpu"]] }],
        Mounts: [
          { Type: "bind", Source: odd, Target: odd, ReadOnly: true },
          { Type: "bind", Source: "/w/blobs/hash", Target: "/w/stand/model", ReadOnly: true },
          { Type: "bind", Source: "/i/one/engine", Target: "/i/one/engine" },
          { Type: "bind", Source: "/run/one", Target: "/run/one" },
        ],
      },
    });
  });
});
