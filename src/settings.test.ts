import { describe, expect, it } from "vitest";
import { SettingsError } from "./settings.ts";
import { defaultAccountName, describeSettings, readSettings } from "./settings-read.ts";

describe("settings", () => {
  it("have defaults, take the file, and let the environment win", () => {
    expect(readSettings({}, null)).toMatchObject({
      BERTH_HOST: "127.0.0.1",
      BERTH_PORT: 8080,
      BERTH_STARTER: true,
    });
    expect(readSettings({ BERTH_PORT: "1" }, "port: 2\nwait_s: 5\n")).toMatchObject({
      BERTH_PORT: 1,
      BERTH_WAIT_S: 5,
    });
    expect(readSettings({ BERTH_STARTER: "off", BERTH_PORT: "" }, "starter: on")).toMatchObject({
      BERTH_STARTER: false,
      BERTH_PORT: 8080,
    });
    expect(readSettings({}, "port:\naccount:\n")).toEqual(readSettings({}, null));
    expect(readSettings({ BERTH_TRUSTED_PROXIES: "10.0.0.0/8, ::1," }, null)).toMatchObject({
      BERTH_TRUSTED_PROXIES: "10.0.0.0/8, ::1,",
    });
    expect(readSettings({ BERTH_HOME: "~/x" }, null).BERTH_HOME).not.toContain("~");
  });

  it.each<[Record<string, string>, string | null, RegExp]>([
    [{ BERTH_PORT: "70000" }, null, /BERTH_PORT is "70000"; allowed: a whole number from 0 to 65535/],
    [{ BERTH_PORT: "eighty" }, null, /BERTH_PORT is "eighty"/],
    [{ BERTH_PORT: "0x50" }, null, /BERTH_PORT is "0x50"/],
    [{ BERTH_PORT: " " }, null, /BERTH_PORT is " "/],
    [{ BERTH_TRUSTED_PROXIES: "10.0.0.0/33" }, null, /is "10.0.0.0\/33"; allowed: addresses or CIDR ranges/],
    [{ BERTH_TRUSTED_PROXIES: "::1,proxy" }, null, /is "::1,proxy"; allowed: addresses or CIDR ranges/],
    [{}, "account: 5", /BERTH_ACCOUNT is 5; allowed: a text/],
    [{ BERTH_STARTER: "maybe" }, null, /BERTH_STARTER is "maybe"; allowed: on or off/],
    [{ BERTH_ACCOUNT: "berth" }, null, /BERTH_ACCOUNT is "berth"; allowed: any name but berth/],
    [{ BERTH_ACCOUNT: "a b" }, null, /letters and digits/],
    [{ HF_ENDPOINT: "ftp://x" }, null, /HF_ENDPOINT is "ftp:\/\/x"; allowed: an http/],
    [{ DATABASE_URL: "mysql://u:geheim@h/d" }, null, /DATABASE_URL is \(hidden\)/],
    [{ BERTH_API_TOKEN: "geheim" }, null, /BERTH_API_TOKEN is \(hidden\); allowed: 16 to 256/],
    [{ BERTH_TLS_CERT: "/c.pem" }, null, /belong together/],
    [{}, "ports: 1", /there is no setting ports/],
    [{}, "- a", /must be a list of/],
    [{}, "a: [", /cannot be read/],
  ])("%j %j is refused", (env, file, message) => {
    const read = () => readSettings(env, file);
    expect(read).toThrow(SettingsError);
    expect(read).toThrow(message);
    expect(read).not.toThrow(/geheim/);
  });

  it("are all documented", () => {
    for (const { name, text } of describeSettings()) expect(text, name).not.toBe("");
  });

  it.each([
    ["ada.lovelace", "ada-lovelace"],
    ["berth", "local"],
    ["__", "local"],
    ["x".repeat(50), "x".repeat(39)],
    ["root", "root"],
  ])("brings the user name %s into the account rule", (user, account) => {
    expect(defaultAccountName(user)).toBe(account);
  });
});
