/**
 * `GET /metrics`: who may read it, and what stands on it: the gateway's own figures, then control's where it answers.
 * Must not count anything itself.
 */
import { HttpError } from "../schema/errors.ts";
import { expositionType, type MetricFamily, writeExposition } from "../schema/exposition.ts";
import { type Authenticator, secretOf } from "./auth.ts";
import { type Trust, trustList } from "./client-address.ts";
import type { HttpRequest } from "./http/request.ts";
import { askControl } from "./link-ask.ts";
import { joinFamilies, type Metrics, type Readings, spooled } from "./metrics.ts";
import type { Directory } from "./models.ts";
import type { Peers } from "./peers.ts";
import type { Visit } from "./visit.ts";

export type MetricsPageDeps = {
  readonly metrics: Metrics;
  readonly authenticator: Authenticator;
  readonly linkSocket: string;
  /** Null where this is the only process of the gateway. */
  readonly peers: Pick<Peers, "figures"> | null;
  /** Proxies on this machine whose requests are not this machine's own. */
  readonly isTrusted: Trust;
  directory(): Directory;
  readings(): Promise<Readings>;
};

/** Scrapers give up after about 10 s; a control that hangs must not take the gateway's figures with it. */
const controlTimeoutMs = 2_000;
const maxControlBytes = 16 * 1024 * 1024;

export async function sendMetrics(deps: MetricsPageDeps, visit: Visit): Promise<void> {
  if (!isFromHere(visit.request, deps.isTrusted)) await requireAdministrator(deps, visit);
  const [gateways, controls] = await Promise.all([pageOfGateways(deps), askForControls(deps)]);
  const page = Buffer.from(`${gateways}${writeExposition([controlUp(controls !== null)])}${controls ?? ""}`);
  visit.response.send(200, ["content-type", expositionType, "cache-control", "no-store"], page);
}

/** The gateway's own figures; where it has several processes, those of each. */
async function pageOfGateways({ metrics, readings, peers }: MetricsPageDeps): Promise<string> {
  const [read, figures] = await Promise.all([readings(), peers?.figures() ?? null]);
  if (figures === null) return metrics.page(read);
  const own = figures.own === null ? [] : [{ number: figures.own, families: metrics.families(read) }];
  return writeExposition([...joinFamilies([...own, ...figures.others]), ...spooled(read.spool)]);
}

async function requireAdministrator(deps: MetricsPageDeps, visit: Visit): Promise<void> {
  const caller = await deps.authenticator.require(visit, deps.directory());
  if (caller.isAdmin) return;
  throw new HttpError("forbidden", "Only an administrator's API token may read metrics.");
}

async function askForControls({ linkSocket }: MetricsPageDeps): Promise<string | null> {
  const limits = { timeoutMs: controlTimeoutMs, maxAnswerBytes: maxControlBytes };
  try {
    return await askControl({ linkSocket, path: "/metrics", body: null, ...limits });
  } catch {
    return null; // the page itself says so: berth_control_up is 0
  }
}

function controlUp(isUp: boolean): MetricFamily {
  const samples = [{ labels: {}, value: isUp ? 1 : 0 }];
  return {
    ...{ name: "berth_control_up", help: "1 when control answered while this page was made, else 0." },
    ...{ type: "gauge", samples },
  };
}

const isLoopback = trustList(["127.0.0.0/8", "::1"]);

/** What only proxies and browsers send: the one speaks for somebody else, the other may have been led here by any page. */
const foreignHeaders = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "origin"];

/**
 * A program on this machine asks, by this machine's own name (a page whose name was made to point here has another one),
 * and shows no token that would say who.
 */
function isFromHere({ remoteAddress, headers }: HttpRequest, isProxy: Trust): boolean {
  const peer = remoteAddress.replace(/^::ffff:/i, "");
  if (!isLoopback(peer) || isProxy(peer)) return false;
  if (secretOf(headers) !== null || headers.authorization !== undefined) return false;
  if (foreignHeaders.some((name) => headers[name] !== undefined)) return false;
  const name = (headers.host ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return name.toLowerCase() === "localhost" || isLoopback(name);
}
