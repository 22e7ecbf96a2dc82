/**
 * llama.cpp's server as its project publishes it, for who cannot build it: which archives there are for which machine, pinned by their
 * SHA-256, and the steps that fetch, compare and unpack them. Pure.
 */
import { join } from "node:path";
import type { Installation, Step } from "../install.ts";

type Archive = {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Folders in front of the files in it; null where they are at different depths, and belong side by side. */
  readonly depth: number | null;
};

export type Release = {
  readonly tag: string;
  readonly archives: readonly Archive[];
  /** The oldest C library that it runs with, by the system that it is built on. */
  readonly glibc: string;
};

/** Where the releases are by themselves. */
export const releasesUrl = "https://github.com/ggml-org/llama.cpp/releases/download";

/** Sizes and sums are those that GitHub tells; several public files have the same. */
const forCpu = "b11120";
const forCuda = "b11216";
const releases: Readonly<Record<string, Release>> = {
  "linux-x64": {
    tag: forCpu,
    glibc: "2.35",
    archives: [
      {
        file: `llama-${forCpu}-bin-ubuntu-x64.tar.gz`,
        bytes: 16_997_245,
        sha256: "cae70da61dc74e3012418f7a4b6750eadc6fd0a8fb03270022d471b675e5b4cd",
        depth: 1,
      },
    ],
  },
  "linux-arm64": {
    tag: forCpu,
    glibc: "2.38",
    archives: [
      {
        file: `llama-${forCpu}-bin-ubuntu-arm64.tar.gz`,
        bytes: 13_588_955,
        sha256: "32a3b84113d3439dfde3ba8488b644ff18e5a2847a8556f18e5e7ee65acf30dc",
        depth: 1,
      },
    ],
  },
  // For NVIDIA's drivers of 525 and later; the second archive has the libraries of CUDA that it needs.
  "linux-x64-cuda": {
    tag: forCuda,
    glibc: "2.38",
    archives: [
      {
        file: `llama-${forCuda}-bin-ubuntu-cuda-12.8-x64.tar.gz`,
        bytes: 172_252_243,
        sha256: "058181c6679888d06385f6ca81b9f6cc0490f35cbd385e4a7fcafd1f8cb32289",
        depth: 1,
      },
      {
        file: `cudart-llama-${forCuda}-bin-ubuntu-cuda-12.8-x64.tar.gz`,
        bytes: 594_377_812,
        sha256: "9183c84ca889e62e023a3bd81176633eea8c229f4c4407ea41163870abecef6c",
        depth: null,
      },
    ],
  },
};

/** @param platform as "linux-x64"; null where nothing is published for it */
export function findRelease(platform: string, withCuda: boolean): Release | null {
  return releases[`${platform}${withCuda ? "-cuda" : ""}`] ?? null;
}

/** True where a system with this C library can run it; versions as "2.36". */
export function runsWith({ glibc }: Release, installed: string): boolean {
  const [needed, has] = [glibc, installed].map((text) => {
    const [major = 0, minor = 0] = text.split(".").map(Number);
    return major * 1000 + minor;
  });
  return (has ?? 0) >= (needed ?? 0);
}

/**
 * @param folder becomes the place of `bin/llama-server` and its libraries
 * @param from where the releases are: a URL, also of a copy of them (http, file)
 */
export function releaseInstallation(
  { tag, archives }: Release,
  of: { readonly folder: string; readonly from: string },
): Installation {
  const bin = join(of.folder, "bin");
  const pathOf = ({ file }: Archive) => join(of.folder, file);
  const steps = archives.flatMap((archive) => {
    const url = `${of.from.replace(/\/+$/, "")}/${tag}/${archive.file}`;
    return stepsOf(archive, { tag, url, bin, path: pathOf(archive) });
  });
  const leftovers = archives.flatMap((archive) => [pathOf(archive), `${pathOf(archive)}.sha256`]);
  return { steps, after: [], leftovers };
}

function stepsOf(
  { bytes, sha256, depth }: Archive,
  { tag, url, bin, path }: { tag: string; url: string; bin: string; path: string },
): Step[] {
  const placing = depth === null ? ["--transform", "s,^.*/,,"] : ["--strip-components", String(depth)];
  const protocols = url.startsWith("https:") ? "=https" : "=http,https,file";
  return [
    {
      text: `fetching llama.cpp ${tag} (${Math.round(bytes / 1e6)} MB)`,
      command: "curl",
      args: [
        ...["--fail", "--location", "--silent", "--show-error", "--proto", protocols, "--retry", "3"],
        ...["--connect-timeout", "20", "--max-filesize", String(bytes), "--output", path, url],
      ],
      explain: (code) => explainCurl(code, url),
    },
    {
      text: "comparing its SHA-256",
      command: "sha256sum",
      args: ["--check", "--strict", "--quiet", `${path}.sha256`],
      writes: [{ path: `${path}.sha256`, content: `${sha256}  ${path}\n` }],
      explain: () =>
        `What came from ${url} is not the file that Berth knows: its SHA-256 is another. Nothing of it was used. ${elsewhere}`,
    },
    {
      text: "unpacking",
      command: "tar",
      args: ["--extract", "--file", path, ...placing, `--one-top-level=${bin}`],
    },
  ];
}

const elsewhere =
  "Set BERTH_LLAMA_RELEASES to a copy of the releases, or build the server here: that needs git, cmake and a C++ compiler, and no network.";

/** By the exit codes of curl(1). */
function explainCurl(code: number | string, url: string): string {
  const what =
    curlFailures.find(({ codes }) => codes.includes(Number(code)))?.what ?? `curl ended with ${code}`;
  return `${url} could not be fetched: ${what}. ${elsewhere}`;
}

const curlFailures: readonly { readonly codes: readonly number[]; readonly what: string }[] = [
  { codes: [5, 6], what: "its host's name is not known here, as without internet" },
  { codes: [7, 28, 52, 56], what: "its host did not answer, as without internet" },
  { codes: [22, 37], what: "it is not there" },
  {
    codes: [35, 60, 77],
    what: "the connection is not safe, its host's certificate is not one that this system trusts",
  },
  { codes: [63], what: "it is larger than the file that Berth knows" },
  { codes: [23], what: "it could not be written, the disk may be full" },
];
