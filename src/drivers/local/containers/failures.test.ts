import { expect, test } from "vitest";
import { explainContainerExit, explainPull, explainRuntime } from "./failures.ts";
import { createLayerCount } from "./pull.ts";

const image = "registry.test/a/b:1";

/** As people reported them; the first part says where. */
const pulls: readonly (readonly [source: string, said: string, code: string, message: RegExp])[] = [
  [
    "docker/for-linux#117",
    "Error response from daemon: Get https://registry-1.docker.io/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
    "image_unreachable",
    /cannot be reached/,
  ],
  [
    "moby/moby#37603",
    "Error response from daemon: pull access denied for foo, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    "image_not_found",
    /has no image registry\.test\/a\/b:1/,
  ],
  [
    "docker/hub-feedback#1103",
    "Error response from daemon: manifest for a/b:1 not found: manifest unknown: manifest unknown",
    "image_not_found",
    /has no image/,
  ],
  [
    "docker/hub-feedback#2064",
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading",
    "image_unreachable",
    /too much was asked/,
  ],
  [
    "moby/moby#36145",
    "failed to register layer: Error processing tar file(exit status 1): write /usr/x: no space left on device",
    "disk_full",
    /has no room for registry\.test/,
  ],
  [
    "docker/for-mac#5625",
    "no matching manifest for linux/arm64/v8 in the manifest list entries",
    "image_unusable",
    /not made for this machine's processor/,
  ],
  [
    "containers/podman#8896",
    'Error: initializing source docker://registry.test/a/b:1: pinging container registry registry.test: Get "https://registry.test/v2/": dial tcp: lookup registry.test: no such host',
    "image_unreachable",
    /cannot be reached/,
  ],
  [
    "containers/podman#9390",
    'Error: short-name "a/b:1" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"',
    "image_not_found",
    /is no name of an image/,
  ],
  ["nowhere", "something else\nwent wrong.\n", "image_unreachable", /could not be fetched: went wrong\.$/],
];

test.each(pulls)("a pull that fails (%s) is one sentence with what to do", (_, said, code, message) => {
  expect(explainPull(image, said)).toMatchObject({
    code,
    message: expect.stringMatching(message),
    next: expect.stringMatching(/\S.*\.$/),
  });
});

const refusals: readonly (readonly [source: string, said: string, code: string, message: RegExp])[] = [
  [
    "NVIDIA/nvidia-docker#1352",
    'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
    "container_failed",
    /Toolkit is not set up/,
  ],
  [
    "NVIDIA/nvidia-container-toolkit#146",
    "Error: error setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=GPU-a",
    "container_failed",
    /Podman does not know the GPUs by their ids/,
  ],
  [
    "NVIDIA/nvidia-docker#1409",
    "docker: Error response from daemon: OCI runtime create failed: nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9, please update your driver to a newer version",
    "container_failed",
    /driver of this machine is too old for the image .* which wants cuda>=12\.9/,
  ],
  [
    "NVIDIA/nvidia-docker#1225",
    "docker: Error response from daemon: OCI runtime create failed: nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
    "container_failed",
    /could not give the GPUs to the container: initialization error: nvml error: driver not loaded/,
  ],
  [
    "moby/moby#34811",
    "docker: Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get ...: dial unix /var/run/docker.sock: connect: permission denied.",
    "container_failed",
    /Berth's user may not use Docker/,
  ],
  [
    "docker/for-linux#535",
    "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?.\nSee 'docker run --help'.",
    "container_failed",
    /service does not run/,
  ],
  [
    "containers/podman#13429",
    "Error: crun: the requested cgroup controller `memory` is not available: OCI runtime error",
    "container_failed",
    /no control group for memory/,
  ],
  [
    "docker/cli",
    "unknown flag: --no-healthcheck\nSee 'docker run --help'.",
    "container_failed",
    /cannot do what Berth asks of it \(--no-healthcheck\)/,
  ],
];

test.each(refusals)("a start that fails (%s) is one sentence with what to do", (_, said, code, message) => {
  const lines = said.split("\n");
  const told = [explainRuntime(image, said)];
  if (/^(docker|Error): /.test(said)) {
    told.push(...[125, null].flatMap((exit) => explainContainerExit(image, { code: exit }, lines) ?? []));
    expect(told).toHaveLength(3);
  }
  for (const one of told) {
    expect(one).toMatchObject({
      code,
      message: expect.stringMatching(message),
      next: expect.stringMatching(/\.$/),
    });
  }
});

test("an engine that ends by itself is told by what it printed, whatever it prints", () => {
  expect(explainContainerExit(image, { code: 1 }, ["Error: no space left on device"])).toBeNull();
  expect(explainContainerExit(image, { code: 125 }, ["ValueError: no"])).toBeNull();
  expect(explainContainerExit(image, { code: null }, ["loading"])).toBeNull();
});

test("layers are counted as Docker and Podman print them, each once", () => {
  const count = createLayerCount();
  const docker = ["v1: Pulling from a/b", "0123456789ab: Pulling fs layer", "ba9876543210: Already exists"];
  const changes = [...docker, "0123456789ab: Download complete", "0123456789ab: Pull complete"].map(
    count.read,
  );
  expect(changes).toEqual([false, true, true, false, true]);
  expect(count.count()).toEqual({ done: 2, all: 2 });
  expect(count.read("0123456789ab: Pull complete")).toBe(false);

  const podman = createLayerCount();
  podman.read("Copying blob sha256:0123456789abcdef0123456789abcdef");
  expect(podman.count()).toEqual({ done: 0, all: 1 });
  podman.read("Copying blob 0123456789ab done   | ");
  podman.read("Copying blob ba9876543210 skipped: already exists");
  expect(podman.count()).toEqual({ done: 2, all: 2 });
});
