import { expect, it } from "vitest";
import { cacheFolder } from "./cache-folder.ts";

const folder = (choice: string, env: Record<string, string> = {}) =>
  cacheFolder(choice, "/srv/berth", env, "/home/ada");

it("is Berth's own unless the setting says otherwise, whatever Python's tools are told", () => {
  expect(folder("own", { HF_HUB_CACHE: "/else" })).toEqual({ path: "/srv/berth/hub", isShared: false });
});

it("is found where Python's tools look, the nearest name first", () => {
  const all = {
    HF_HUB_CACHE: "/a",
    HUGGINGFACE_HUB_CACHE: "/b",
    HF_HOME: "/c",
    XDG_CACHE_HOME: "/d",
  };
  const { HF_HUB_CACHE: _first, ...second } = all;
  const { HUGGINGFACE_HUB_CACHE: _second, ...third } = second;
  const { HF_HOME: _third, ...fourth } = third;
  expect(folder("hf", all).path).toBe("/a");
  expect(folder("hf", second).path).toBe("/b");
  expect(folder("hf", third).path).toBe("/c/hub");
  expect(folder("hf", fourth).path).toBe("/d/huggingface/hub");
  expect(folder("hf")).toEqual({ path: "/home/ada/.cache/huggingface/hub", isShared: true });
});

it("takes an empty variable for an absent one", () => {
  expect(folder("hf", { HF_HUB_CACHE: "", HF_HOME: "", XDG_CACHE_HOME: "" }).path).toBe(
    "/home/ada/.cache/huggingface/hub",
  );
});

it("is shared where a path is named, and a tilde leads to the home folder only at its beginning", () => {
  expect(folder("~/weights")).toEqual({ path: "/home/ada/weights", isShared: true });
  expect(folder("~")).toEqual({ path: "/home/ada", isShared: true });
  expect(folder("/mnt/~/weights").path).toBe("/mnt/~/weights");
  expect(folder("hf", { HF_HOME: "~/hf" }).path).toBe("/home/ada/hf/hub");
});
