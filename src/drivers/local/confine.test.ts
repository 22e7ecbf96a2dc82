import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mountTable, shutIn, userOf, type View } from "./confine.ts";

const view: View = {
  root: "/b/instances/one/root",
  hidden: "/b",
  reads: ["/usr", "/usr/lib", "/opt/berth", "/b/hub/models--o--n/blobs", "/b/hub/models--o--n/snapshots/c"],
  covers: [
    { source: "/b/instances/one/stand/0", at: "/private" },
    { source: "/private/w", at: "/private/w" },
  ],
  writes: ["/b/instances/one/engine", "/run/berth/one"],
  temporary: "/b/instances/one/tmp",
  folder: "/b/instances/one/engine",
  hasOwnUser: true,
};

/** Source, place within the root, and options of each line. */
function mounts(of: View): [string, string, string][] {
  return mountTable(of)
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [source = "", at = "", , options = ""] = line.split(" ");
      return [source, at.slice(of.root.length), options];
    });
}

describe("the mounts of an engine", () => {
  it("show programs and weights to read, its own folders to write, and nothing else of Berth's state", () => {
    const list = mounts(view);
    const readable = list.filter(([, , options]) => options.includes("bind,ro")).map(([source]) => source);
    expect(readable).toEqual([
      "/usr",
      "/opt/berth",
      "/b/hub/models--o--n/blobs",
      "/b/hub/models--o--n/snapshots/c",
      "/b/instances/one/stand/0",
      "/private/w",
    ]);
    const writable = list
      .filter(([, , options]) => /^bind,(?!ro)/.test(options))
      .map(([source, at]) => [source, at]);
    expect(writable).toEqual([
      ["/b/instances/one/tmp", "/tmp"],
      ["/b/instances/one/engine", "/b/instances/one/engine"],
      ["/run/berth/one", "/run/berth/one"],
    ]);
  });

  it("hide the state before anything of it is shown, also where programs lie around or beside it in /tmp", () => {
    const inside = { ...view, reads: ["/tmp/berth", ...view.reads.slice(3)], hidden: "/tmp/berth/state" };
    const weights = ["/tmp/berth/state/hub/w"];
    const places = mounts({ ...inside, reads: [...inside.reads, ...weights] }).map(([, at]) => at);
    const order = ["/tmp", "/tmp/berth", "/tmp/berth/state", "/tmp/berth/state/hub/w"].map((at) =>
      places.indexOf(at),
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(order).not.toContain(-1);
  });

  it("are one line each, of six fields, whatever the paths are", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (name) => {
        const lines = mountTable({ ...view, writes: [`/b/${name}`] })
          .trimEnd()
          .split("\n");
        expect(lines).toHaveLength(mountTable(view).trimEnd().split("\n").length - 1);
        for (const line of lines) expect(line.split(/[ \t\r]+/)).toHaveLength(6);
      }),
    );
  });
});

describe("the command of an engine", () => {
  it("keeps its arguments as they are, apart from each other, last", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (args) => {
        const command = shutIn(
          { command: "/bin/engine", args },
          { table: "/t", view, user: 7, hasNetwork: false },
        );
        expect(command.args.slice(-1 - args.length)).toEqual(["/bin/engine", ...args]);
      }),
    );
  });

  it("has a network only where it is needed, and root's rights in name only where Berth is not root", () => {
    const walls = { table: "/t", view, user: null, hasNetwork: true };
    const [own, roots] = [walls, { ...walls, user: 7, hasNetwork: false }].map(
      (each) => shutIn({ command: "e", args: [] }, each).args,
    );
    expect(own).toContain("--map-root-user");
    expect(own).not.toContain("--net");
    expect(roots).not.toContain("--map-root-user");
    expect(roots).toEqual(expect.arrayContaining(["--net", "--reuid=7", "--regid=7", "--clear-groups"]));
  });

  it("runs as a user far above those of people and services, the same for the same instance", () => {
    expect(userOf("one")).toBe(userOf("one"));
    expect(userOf("one")).not.toBe(userOf("two"));
    fc.assert(
      fc.property(fc.string(), (id) => {
        expect(userOf(id)).toBeGreaterThanOrEqual(2_000_000_000);
        expect(userOf(id)).toBeLessThan(2 ** 31);
      }),
    );
  });
});
