// Three projects: fast tests beside the source; tests of the API as it is on the wire, in one process; and tests of the whole that
// start real processes. All run side by side, more of them than there are cores: much of what they do is waiting.
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** For all projects. A limit ends what hangs; it must not end what is slow, since the machine may be busy with other things. */
const common = { testTimeout: 120_000, hookTimeout: 120_000 };

/** What one process of Berth has compiled the next one need not: half of the time that it takes to start. */
const env = { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/berth-tests") };

export default defineConfig({
  test: {
    maxWorkers: 3,
    projects: [
      {
        test: {
          ...common,
          name: "unit",
          include: ["src/**/*.test.ts", "tools/**/*.test.ts"],
          // A process that is made anew for each file, with all that it imports, costs more than most files' tests.
          isolate: false,
          env,
        },
      },
      {
        test: { ...common, name: "wire", include: ["test/wire/*.test.ts"], isolate: false, env },
      },
      {
        test: {
          ...common,
          name: "whole",
          include: ["test/**/*.test.ts"],
          exclude: ["test/wire/*.test.ts"],
          env,
        },
      },
    ],
  },
});
