/** Fetching the published server, from a stand-in of the place where releases are; its archives are made here. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runInstallation } from "../install-run.ts";
import { findLlamaServer } from "./program.ts";
import { findRelease, type Release, releaseInstallation, releasesUrl, runsWith } from "./releases.ts";

const run = promisify(execFile);
const works = `#!/bin/sh
case "$1" in
  --version) echo "version: 1 (abc)" ;;
  --help) echo "-np,   --parallel N    slots" ;;
esac
`;
const needsNewer = `#!/bin/sh
echo "$0: /lib/x86_64-linux-gnu/libc.so.6: version \\\`GLIBC_2.99' not found (required by $0)" >&2
exit 1
`;

let work: string;
let folder: string;
let server: Server;
let from: string;
const served = new Map<string, Buffer>();

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "berth-releases-"));
  server = createServer(({ url = "" }, response) => {
    const body = served.get(url);
    response.writeHead(body === undefined ? 404 : 200, { "content-length": body?.length ?? 0 }).end(body);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  from = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  folder = join(work, "engines/llama-server");
  served.clear();
});
afterAll(async () => {
  server.close();
  await rm(work, { recursive: true, force: true });
});

/** An archive of these files, as the place would give it. */
async function archive(
  file: string,
  depth: number | null,
  files: Record<string, string>,
): Promise<Release["archives"][number]> {
  const root = await mkdtemp(join(work, "made-"));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content, { mode: 0o755 });
  }
  await run("tar", ["--create", "--gzip", "--file", join(work, file), "--directory", root, "."]);
  const bytes = await readFile(join(work, file));
  served.set(`/b1/${file}`, bytes);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { file, bytes: bytes.length, sha256, depth };
}

// A folder "." is in front of every name, as in the real ones.
const serverArchive = (program = works) =>
  archive("server.tar.gz", 2, { "llama-b1/llama-server": program, "llama-b1/libllama.so": "" });
const release = (...archives: Release["archives"]): Release => ({ tag: "b1", glibc: "2.1", archives });

async function install(
  of: Release,
  place = from,
  signal = new AbortController().signal,
): Promise<string | null> {
  return await runInstallation(releaseInstallation(of, { folder, from: place }), {
    ...{ folder, environment: process.env, signal, show: () => undefined },
    async check() {
      const found = await findLlamaServer([join(folder, "bin/llama-server")], {});
      return found.state === "found" ? null : found.state === "broken" ? found.why : "absent";
    },
  });
}

const read = (path: string) => readFile(join(folder, path), "utf8").catch(() => null);

describe("fetching the published server", () => {
  test("puts program and libraries side by side, also those of a second archive, and leaves nothing else", async () => {
    const libraries = await archive("cudart.tar.gz", null, {
      "a/libcudart.so.12": "one",
      "libcublas.so.12": "two",
    });
    expect(await install(release(await serverArchive(), libraries))).toBeNull();
    const { stdout } = await run("find", [folder, "-type", "f", "-printf", "%P\n"]);
    expect(stdout.trim().split("\n").sort()).toEqual(
      ["libcublas.so.12", "libcudart.so.12", "libllama.so", "llama-server"].map((name) => `bin/${name}`),
    );
  });

  test("what was there before stays where it fails, whatever fails", async () => {
    const good = release(await serverArchive());
    expect(await install(good)).toBeNull();
    await writeFile(join(folder, "mine"), "before");

    server.closeIdleConnections();
    const nobody = "http://127.0.0.1:9";
    expect(await install(good, nobody)).toMatch(
      /^http:\/\/127\.0\.0\.1:9\/b1\/server\.tar\.gz could not be fetched: its host did not answer, as without internet\. Set BERTH_LLAMA_RELEASES to a copy of the releases, or build/,
    );

    const bytes = served.get("/b1/server.tar.gz") ?? Buffer.alloc(0);
    served.set("/b1/server.tar.gz", Buffer.alloc(bytes.length));
    expect(await install(good)).toMatch(
      /server\.tar\.gz is not the file that Berth knows: its SHA-256 is another\. Nothing of it was used\./,
    );
    served.set("/b1/server.tar.gz", Buffer.concat([bytes, bytes]));
    expect(await install(good)).toMatch(
      /could not be fetched: it is larger than the file that Berth knows\./,
    );
    served.clear();
    expect(await install(good)).toMatch(/could not be fetched: it is not there\./);

    const broken = release(await serverArchive(needsNewer));
    expect(await install(broken)).toBe("it needs GLIBC_2.99, a newer library than this system has");
    await expect(install(good, from, AbortSignal.abort())).resolves.toMatch(/\S/);
    expect(await read("mine")).toBe("before");
    expect(await read("bin/llama-server")).toBe(works);
  });

  test("one that was killed in the middle has not cost what was there before", async () => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(`${folder}.before`, { recursive: true });
    await writeFile(join(`${folder}.before`, "mine"), "before");
    await mkdir(folder);
    expect(await install(release(), "http://127.0.0.1:9")).toBe("absent");
    expect(await read("mine")).toBe("before");
  });
});

describe("a program that does not run here", () => {
  test("of another kind of processor is told so", async () => {
    const path = join(work, "other");
    const machine = process.arch === "arm64" ? 62 : 183;
    const header = Buffer.alloc(64);
    header.write("\x7fELF\x02\x01\x01", "latin1");
    header.writeUInt16LE(2, 16);
    header.writeUInt16LE(machine, 18);
    await writeFile(path, header);
    await chmod(path, 0o755);
    expect(await findLlamaServer([path], {})).toMatchObject({
      ...{ state: "broken", why: "it was built for another kind of processor" },
    });
  });

  test("is not fetched where the C library is too old", () => {
    const cuda = findRelease("linux-x64", true);
    if (cuda === null) throw new Error("there is a release with CUDA");
    expect([
      runsWith(cuda, "2.36"),
      runsWith(cuda, "2.38"),
      runsWith(cuda, "2.41"),
      runsWith(cuda, "3.0"),
    ]).toEqual([false, true, true, true]);
  });
});

test("what curl says by its code is told in words", () => {
  const [fetching] = releaseInstallation(release({ file: "a", bytes: 1, sha256: "0", depth: 1 }), {
    folder: "/e",
    from,
  }).steps;
  expect(fetching?.explain?.(6)).toMatch(
    /could not be fetched: its host's name is not known here, as without internet\./,
  );
  expect(fetching?.explain?.(60)).toMatch(/the connection is not safe/);
  expect(fetching?.explain?.("ENOENT")).toMatch(/could not be fetched: curl ended with ENOENT\./);
});

test("the releases are pinned, and those of the project come over TLS, no larger than they are", () => {
  for (const [platform, withCuda] of [
    ["linux-x64", false],
    ["linux-arm64", false],
    ["linux-x64", true],
  ] as const) {
    const found = findRelease(platform, withCuda);
    const steps = found === null ? [] : releaseInstallation(found, { folder: "/e", from: releasesUrl }).steps;
    const fetches = steps.filter(({ command }) => command === "curl").map(({ args }) => args.join(" "));
    expect(fetches.length).toBe(withCuda ? 2 : 1);
    for (const args of fetches) {
      expect(args).toMatch(
        /--proto =https .*--max-filesize \d{8,9} .* https:\/\/github\.com\/ggml-org\/llama\.cpp\/releases\/download\/b\d+\/\S+\.tar\.gz$/,
      );
    }
  }
  expect(findRelease("sunos-x64", false)).toBeNull();
  expect(findRelease("linux-arm64", true)).toBeNull();
});
