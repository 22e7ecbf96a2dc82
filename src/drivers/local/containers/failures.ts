/**
 * What a container runtime's complaints mean, as failures a person can act on. Pure. Docker's and Podman's messages are theirs and have
 * changed before: what matches nothing is told with its last line.
 */
import { type Failure, type FailureCode, failure } from "../../../core/failure.ts";

type Pattern = {
  readonly pattern: RegExp;
  readonly code: FailureCode;
  readonly message: (image: string, ...groups: string[]) => string;
  readonly next: string;
};

const again = "Then start the deployment again.";

const ofRuntime: readonly Pattern[] = [
  {
    pattern: /ENOENT|no such file or directory: .*\/(?:docker|podman)$|spawn \S+ EACCES/,
    code: "container_failed",
    message: () => "The container runtime that engines' images run in is not on this machine any more.",
    next: "Install Docker or Podman, or name it with BERTH_CONTAINER_RUNTIME.",
  },
  {
    pattern: /gave no answer within ([\d.]+ s)/,
    code: "container_failed",
    message: (_, time) => `The container runtime gave no answer within ${time}.`,
    next: "See whether `docker ps` (or `podman ps`) answers, and restart the runtime's service where it does not.",
  },
  {
    pattern:
      /permission denied while trying to connect to the (?:Docker|docker)|dial unix \S+: connect: permission denied/,
    code: "container_failed",
    message: () => "Berth's user may not use Docker.",
    next: "Add the user to the group docker, which gives it root's rights on this machine, or use Podman or rootless Docker.",
  },
  {
    pattern:
      /[Cc]annot connect to the Docker daemon|unable to connect to Podman|connection refused.*(?:docker|podman)\.sock/,
    code: "container_failed",
    message: () => "The container runtime's service does not run.",
    next: `Start it, as with \`systemctl start docker\`. ${again}`,
  },
  {
    pattern:
      /could not select device driver .*\[\[?gpu|unknown runtime specified nvidia|nvidia-container-runtime-hook: (?:no such|not found)/,
    code: "container_failed",
    message: () =>
      "Docker cannot give GPUs to containers: the NVIDIA Container Toolkit is not set up for it.",
    next: "Install the toolkit, run `nvidia-ctk runtime configure --runtime=docker` and restart Docker.",
  },
  {
    pattern: /unresolvable CDI devices? ?\[?(\S{0,80}?)\]?(?:\s|$)|stat nvidia\.com\/gpu=\S+: no such file/,
    code: "container_failed",
    message: () => "Podman does not know the GPUs by their ids: no description of them (CDI) names them.",
    next: "Run `nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml` as root, again after each change of the driver.",
  },
  {
    pattern: /unsatisfied condition: (cuda ?>= ?[\d.]+)/,
    code: "container_failed",
    message: (image, condition) =>
      `The NVIDIA driver of this machine is too old for the image ${image}, which wants ${condition}.`,
    next: "Update the driver, or name an older image with BERTH_VLLM_IMAGE.",
  },
  {
    pattern: /nvidia-container-cli: ([^\n]{1,160})/,
    code: "container_failed",
    message: (_, said) => `The NVIDIA Container Toolkit could not give the GPUs to the container: ${said}.`,
    next: "See whether `nvidia-smi` works here, and whether the toolkit is as new as the driver.",
  },
  {
    pattern: /[Uu]nable to find image|[Nn]o such image|image not known/,
    code: "image_missing",
    message: (image) => `The container image ${image} is not on this machine.`,
    next: "It is fetched by itself.",
  },
  {
    pattern: /no space left on device/,
    code: "disk_full",
    message: (image) => `The disk that keeps container images has no room for ${image}.`,
    next: "Free some room, as with `docker image prune`, then start the deployment again.",
  },
  {
    pattern:
      /exec: "?([^\s":]{1,60})"?: (?:executable file not found|no such file)|executable file `([^`]{1,60})` not found/,
    code: "image_unusable",
    message: (image, a, b) => `The image ${image} has no program ${a || b}.`,
    next: "Name an image of vLLM with BERTH_VLLM_IMAGE.",
  },
  {
    pattern:
      /exec format error|no matching manifest for (\S+)|no image found in (?:image index|manifest list) for architecture/,
    code: "image_unusable",
    message: (image) => `The image ${image} is not made for this machine's processor.`,
    next: "Name one that is with BERTH_VLLM_IMAGE.",
  },
  {
    pattern:
      /unknown flag: (--[\w-]{1,40})|unknown (?:shorthand )?flag|requested cgroup controller `(\w+)` is not available/,
    code: "container_failed",
    message: (_, flag, controller) =>
      `The container runtime cannot do what Berth asks of it${flag ? ` (${flag})` : controller ? ` (no control group for ${controller})` : ""}.`,
    next: "Docker 20.10 or Podman 4.1 and newer can; where they run without root, systemd must give the user's service memory and pids.",
  },
];

/** What a registry or the way to it says; looked for only where an image was asked of one. */
const ofRegistry: readonly Pattern[] = [
  {
    pattern: /toomanyrequests|rate limit/i,
    code: "image_unreachable",
    message: (image) => `The registry refuses ${image} for now: too much was asked of it from here.`,
    next: "Log in to it (`docker login`, `podman login`) as Berth's user, or try again in some hours.",
  },
  {
    pattern:
      /manifest unknown|manifest for \S+ not found|pull access denied|repository \S+ not found|repository does not exist|requested access to the resource is denied|name unknown|unauthorized|authentication required|403 Forbidden|404 Not Found/,
    code: "image_not_found",
    message: (image) => `The registry has no image ${image}, or does not give it to Berth.`,
    next: "Correct BERTH_VLLM_IMAGE, or log in to the registry (`docker login`, `podman login`) as Berth's user.",
  },
  {
    pattern: /invalid reference format|repository name must be lowercase|short-name .* did not resolve/,
    code: "image_not_found",
    message: (image) => `${image} is no name of an image that this runtime understands.`,
    next: "Correct BERTH_VLLM_IMAGE: registry/name:tag, or registry/name@sha256:….",
  },
  {
    pattern:
      /no such host|dial tcp|i\/o timeout|TLS handshake|connection refused|connection reset|network is unreachable|[Tt]emporary failure|Client\.Timeout|context deadline exceeded|EOF|5\d\d (?:Internal|Bad|Service|Gateway)/,
    code: "image_unreachable",
    message: (image) => `The registry of ${image} cannot be reached from here.`,
    next: "Where there is no internet, load the image from a file (`docker load`, `podman load`), or name one of a registry that is here with BERTH_VLLM_IMAGE.",
  },
];

/** Why the image could not be fetched, by what the runtime said. */
export function explainPull(image: string, said: string): Failure {
  return (
    match([...ofRegistry, ...ofRuntime], image, said) ??
    failure(
      "image_unreachable",
      `The image ${image} could not be fetched: ${lastLine(said)}.`,
      "See whether the container runtime can pull it by hand, as Berth's user.",
    )
  );
}

/** Why the runtime did not do something else that it was asked for. */
export function explainRuntime(image: string, said: string): Failure {
  return (
    match(ofRuntime, image, said) ??
    failure(
      "container_failed",
      `The container runtime refused: ${lastLine(said)}.`,
      "See whether it runs containers by hand, as Berth's user.",
    )
  );
}

/** The client's own: an engine that ends with one of these numbers by itself is told by what it printed. */
const clientCodes: ReadonlySet<number | null> = new Set([125, 126, 127]);
/** How the clients begin what is theirs. */
const clientLine = /^(?:docker: |Error: |Error response from daemon: |time="\S+" level=(?:error|fatal) )/;

/** Null where the engine itself has ended, and not the runtime failed to start it. */
export function explainContainerExit(
  image: string,
  exit: { readonly code: number | null },
  lines: readonly string[],
): Failure | null {
  const own = lines.filter((line) => clientLine.test(line));
  if (own.length === 0 || (exit.code !== null && !clientCodes.has(exit.code))) return null;
  return explainRuntime(image, own.join("\n"));
}

function match(patterns: readonly Pattern[], image: string, said: string): Failure | null {
  for (const { pattern, code, message, next } of patterns) {
    const found = pattern.exec(said);
    if (found !== null)
      return failure(code, message(image, ...found.slice(1).map((group) => group ?? "")), next);
  }
  return null;
}

/** The last thing it said, as part of a sentence: without control characters, of bounded length. */
function lastLine(said: string): string {
  const line = said
    .split("\n")
    .map((one) => one.trim())
    .findLast((one) => one !== "" && !/^(?:See 'docker|Run 'docker|For more help)/.test(one));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
  const clean = (line ?? "it did not say why").replaceAll(/[\u0000-\u001f\u007f]/g, " ").slice(0, 200);
  return clean.replace(/^(?:docker|Error|Error response from daemon): /, "").replace(/[.\s]+$/, "");
}
