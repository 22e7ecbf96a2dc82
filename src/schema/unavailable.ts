/**
 * What DeepInfra's API has and Berth does not, each with its reason: the answer to whoever asks for it (501), and a row of
 * the compatibility page. Pure. A path that Berth serves never comes here: it has been answered before.
 */

type Family = { readonly path: RegExp; readonly reason: string };

const families: readonly Family[] = [
  {
    path: /^\/v1\/(openai\/)?images\//,
    reason: "Berth serves text models and embeddings; it has no image generation.",
  },
  {
    path: /^\/v1\/(openai\/)?audio\/|^\/v1\/(voices|text-to-speech)(\/|$)/,
    reason: "Berth serves text models and embeddings; it has neither speech nor voices.",
  },
  {
    path: /^\/v1\/(openai\/)?videos(\/|$)/,
    reason: "Berth serves text models and embeddings; it has no video.",
  },
  {
    path: /^\/v1\/(openai\/)?(files|batches)(\/|$)/,
    reason:
      "Berth keeps no prompts and no answers, so it has neither files nor batches: send the requests one by one.",
  },
  {
    path: /^\/v1\/(containers|ssh_keys)(\/|$)/,
    reason: "Berth rents out no containers; whoever has the machine can start them there.",
  },
  {
    path: /^\/(github|okta)\//,
    reason:
      "Berth has no sign-in with other services: an administrator makes accounts and gives out their tokens.",
  },
  {
    path: /^\/payment\//,
    reason:
      "Berth takes no money: it has no payment cards, funds, top-ups or invoices. GET /payment/usage and /payment/usage/rent say what was used.",
  },
  {
    path: /^\/lora-model(\/|$)|^\/v1\/lora\//,
    reason: "LoRA adapters are not in this version: no engine that it has can load them while it runs.",
  },
  {
    path: /^\/(model-families|openrouter)(\/|$)/,
    reason:
      "It lists DeepInfra's own offer for its web pages; GET /models/list has the models that are here.",
  },
  {
    path: /^\/v2\/hardware$/,
    reason:
      "It lists DeepInfra's own offer; GET /deploy/llm/gpu_availability says what could be deployed here.",
  },
  {
    path: /^\/models\/.+\/schema\/[^/]+$/,
    reason: "Models have no schemas of their own here: GET /openapi.json has the shapes of every face.",
  },
  { path: /^\/v1\/feedback$/, reason: "There is nobody to send it to: the service is your own." },
  {
    path: /^\/v1\/api-tokens\/[^/]+\/vercel_export$/,
    reason: "Berth hands tokens to nobody but the one who makes them.",
  },
  {
    path: /^\/v1\/me\/team_display_name$/,
    reason: "An account's name is the prefix of its models' names and does not change; there are no teams.",
  },
];

/** Methods of paths that Berth has with others, by `METHOD path`. */
const methods: Readonly<Record<string, string>> = {
  "DELETE /v1/me":
    "An account is not deleted by its own token: its deployments and records belong to the installation.",
};

/** Why Berth does not have this, one or two sentences; null when it says nothing of the path. */
export function reasonUnavailable(method: string, path: string): string | null {
  const own = methods[`${method} ${path}`];
  return own ?? families.find((family) => family.path.test(path))?.reason ?? null;
}
