/**
 * Reads settings from an environment and the text of `berth.yaml`, and describes them for the reference page. A bad value
 * is an error that names the setting, the value and what is allowed. Must not look at the process's own environment or at
 * the disk: the caller passes both.
 */
import { homedir, userInfo } from "node:os";
import { resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { type Settings, SettingsError, settingsSchema, settingsShape } from "./settings.ts";

/**
 * Reads the settings: the environment wins over the file, the file over the defaults.
 * @param env the environment; names that are no setting are ignored
 * @param file text of berth.yaml, null when there is none; unknown keys in it are errors
 */
export function readSettings(
  env: Readonly<Record<string, string | undefined>>,
  file: string | null,
): Settings {
  const fromFile = file === null ? {} : parseFile(file);
  const given: Record<string, unknown> = { ...fromFile };
  for (const name of Object.keys(settingsShape)) {
    if (env[name] !== undefined && env[name] !== "") given[name] = env[name];
  }
  const outcome = settingsSchema.safeParse(given);
  if (!outcome.success) {
    const lines = outcome.error.issues.map((issue) =>
      describeIssue(String(issue.path[0]), given, issue.message),
    );
    throw new SettingsError(lines.join("\n"));
  }
  const settings = outcome.data;
  if ((settings.BERTH_TLS_CERT === undefined) !== (settings.BERTH_TLS_KEY === undefined)) {
    throw new SettingsError("BERTH_TLS_CERT and BERTH_TLS_KEY belong together; only one of them is set.");
  }
  return { ...settings, BERTH_HOME: resolve(settings.BERTH_HOME.replace(/^~(?=$|\/)/, homedir())) };
}

function parseFile(text: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = parseYaml(text) ?? {};
  } catch (error) {
    throw new SettingsError(`berth.yaml cannot be read: ${(error as Error).message}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new SettingsError("berth.yaml must be a list of `name: value` lines.");
  }
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parsed)) {
    const name = Object.keys(settingsShape).find((known) => known !== "BERTH_HOME" && yamlKey(known) === key);
    if (name === undefined)
      throw new SettingsError(`berth.yaml: there is no setting ${key}; see docs/reference/config.md.`);
    // A key without a value is YAML's null.
    if (value !== null) values[name] = value;
  }
  return values;
}

/** BERTH_PORT -> port, HF_ENDPOINT -> hf_endpoint. */
export function yamlKey(name: string): string {
  return name.replace(/^BERTH_/, "").toLowerCase();
}

function describeIssue(name: string, given: Record<string, unknown>, rule: string): string {
  const value = /TOKEN|KEY|DATABASE_URL/.test(name) ? "(hidden)" : JSON.stringify(given[name]);
  return `${name} is ${value}; allowed: ${rule}. See docs/reference/config.md.`;
}

/** The operating system's user name brought into the account rule, or "local" where nothing is left of it. */
export function defaultAccountName(userName: string = userInfo().username): string {
  const name = userName
    .replace(/[^a-zA-Z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 39)
    .replace(/-+$/, "");
  return name === "" || name.toLowerCase() === "berth" ? "local" : name;
}

/** Name, YAML key, default and sentence of every setting, for the reference page. */
export function describeSettings(): { name: string; yaml: string; fallback: string; text: string }[] {
  return Object.entries(settingsShape).map(([name, field]) => {
    const outcome = field.safeParse(undefined);
    const value = outcome.success ? outcome.data : undefined;
    const fallback =
      value === undefined || value === ""
        ? "–"
        : `\`${typeof value === "boolean" ? (value ? "on" : "off") : value}\``;
    const yaml = name === "BERTH_HOME" ? "–" : `\`${yamlKey(name)}\``;
    return { name, yaml, fallback, text: field.description ?? "" };
  });
}
