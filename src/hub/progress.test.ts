import { expect, test } from "vitest";
import { createProgress } from "./progress.ts";

const files = [
  { path: "a", bytes: 1000, sha256: null, gitOid: null },
  { path: "b", bytes: 500, sha256: null, gitOid: null },
];

test("counts what is on disk, and only what came over the line for the rate", () => {
  const progress = createProgress(files);
  progress.moved("b", 500, 0);
  expect(progress.at(0)).toEqual({ bytesDone: 500, bytesTotal: 1500, bytesPerS: 0, currentFiles: [] });
  progress.started("a");
  progress.moved("a", 200, 0);
  progress.moved("a", 600, 400);
  expect(progress.at(1000)).toEqual({
    bytesDone: 1100,
    bytesTotal: 1500,
    bytesPerS: 400,
    currentFiles: ["a"],
  });
});

test("never goes back, also when a file is fetched anew or the clock is set back", () => {
  const progress = createProgress(files);
  progress.moved("a", 900, 900);
  expect(progress.at(5000).bytesDone).toBe(900);
  progress.moved("a", 0, 0);
  progress.moved("a", 100, 100);
  const later = progress.at(1000);
  expect(later.bytesDone).toBe(900);
  expect(later.bytesPerS).toBe(0);
});

test("the rate falls to zero when nothing comes any more", () => {
  const progress = createProgress(files);
  for (let second = 0; second < 4; second += 1) {
    progress.at(second * 1000);
    progress.moved("a", (second + 1) * 100, 100);
  }
  expect(progress.at(4000).bytesPerS).toBe(100);
  for (let ms = 4250; ms <= 10_000; ms += 250) progress.at(ms);
  expect(progress.at(10_250).bytesPerS).toBe(0);
});
