/** Folders for the stand-in in tests: writes repositories, starts the server, cleans up. Holds no assertions. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type FakeHub, type FakeHubOptions, startFakeHub } from "./server.ts";

export type Files = Readonly<Record<string, string | Buffer>>;

export type Fixture = {
  readonly hub: FakeHub;
  /** Folder the stand-in serves. */
  readonly root: string;
  /** Another empty folder, on the same disk. */
  readonly home: string;
  /** Writes `owner/name` or `owner/name@revision`. */
  addRepo(name: string, files: Files): Promise<void>;
  /** Writes `access.json`. */
  setAccess(access: object): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The content is the same at every start of the same test run only if it is passed in. */
export async function startFixture(
  repos: Readonly<Record<string, Files>>,
  options: Omit<FakeHubOptions, "root"> = {},
): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), "fake-hub-"));
  const root = join(folder, "root");
  const home = join(folder, "home");
  await mkdir(root);
  await mkdir(home);

  async function addRepo(name: string, files: Files): Promise<void> {
    await mkdir(join(root, name), { recursive: true });
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(root, name, path)), { recursive: true });
      await writeFile(join(root, name, path), content);
    }
  }

  for (const [name, files] of Object.entries(repos)) await addRepo(name, files);
  const hub = await startFakeHub({ ...options, root });
  return {
    hub,
    root,
    home,
    addRepo,
    setAccess: (access) => writeFile(join(root, "access.json"), JSON.stringify(access)),
    async [Symbol.asyncDispose]() {
      await hub.close();
      // Whoever used it may still put down what it has fetched, as a keeper does behind an answer.
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
    },
  };
}

/** Bytes that no compression and no lucky guess gets right. */
export function randomContent(bytes: number): Buffer {
  return randomBytes(bytes);
}
