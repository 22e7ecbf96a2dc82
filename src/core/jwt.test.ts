import fc from "fast-check";
import { expect, test } from "vitest";
import {
  clockSkewMs,
  composeJwt,
  defaultLifetimeS,
  encodeBase64Url,
  keyIdOf,
  looksLikeJwt,
  maxJwtChars,
  parseJwt,
  readRights,
} from "./jwt.ts";

const nowMs = Date.UTC(2026, 10, 24);
const nowS = nowMs / 1000;

function written(claims: Record<string, unknown>, header: Record<string, unknown> = {}): string {
  const whole = { alg: "HS256", typ: "JWT", kid: keyIdOf("ann", "ci"), ...header };
  return `${encodeBase64Url(JSON.stringify(whole))}.${encodeBase64Url(JSON.stringify(claims))}.AAAA`;
}

function rightsOf(claims: Record<string, unknown>, atMs = nowMs) {
  const parsed = parseJwt(written(claims));
  if (!parsed.ok) throw new Error(parsed.reason);
  return readRights(parsed.value, atMs);
}

test("the key id names account and token; bare and with the prefix", () => {
  const jwt = written({ exp: nowS + 60 }, { kid: `di:1000:${btoa("my key")}` });
  for (const text of [jwt, `jwt:${jwt}`]) {
    expect(looksLikeJwt(text)).toBe(true);
    expect(parseJwt(text)).toMatchObject({ ok: true, value: { account: "di:1000", tokenName: "my key" } });
  }
  expect(looksLikeJwt("berth_x7Qm")).toBe(false);
});

test.each([
  ["", /three parts/],
  ["jwt:", /three parts/],
  ["a.b.c.d", /three parts/],
  ["a.b.c", /base64url/],
  [`${"a".repeat(maxJwtChars)}.b.c`, /longer/],
  [written({}, { alg: "none" }), /alg/],
  [written({}, { alg: "hs256" }), /alg/],
  [written({}, { alg: "HS512" }), /alg/],
  [written({}, { alg: "RS256" }), /alg/],
  [written({}, { alg: ["HS256"] }), /alg/],
  [written({}, { crit: ["exp"] }), /crit/],
  [written({}, { kid: "ann" }), /kid/],
  [written({}, { kid: ":Y2k=" }), /kid/],
  [written({}, { kid: "ann:?" }), /kid/],
  [written({}, { kid: 7 }), /kid/],
  // The same bytes in another spelling: spare bits of the last character.
  [written({}).replace(/AAAA$/, "AB"), /base64url/],
  [`${encodeBase64Url("[]")}.e30.AAAA`, /base64url/],
])("%j is refused", (text, why) => {
  const outcome = parseJwt(text);
  expect(outcome).toMatchObject({ ok: false, reason: expect.stringMatching(why) });
});

test.each([
  [{}, /neither exp nor iat/],
  [{ exp: nowS }, /expired/],
  [{ exp: "tomorrow" }, /not a time/],
  [{ exp: 1e300 }, /not a time/],
  [{ exp: null, iat: nowS - defaultLifetimeS }, /expired/],
  [{ iat: nowS + clockSkewMs / 1000 + 1 }, /iat is in the future/],
  [{ exp: nowS + 900, nbf: nowS + clockSkewMs / 1000 + 1 }, /nbf is in the future/],
  [{ exp: nowS + 1, sub: "bob" }, /sub/],
  [{ exp: nowS + 1, aud: "x" }, /aud/],
  [{ exp: nowS + 1, model: "a", models: ["b"] }, /both/],
  [{ exp: nowS + 1, models: [] }, /names of models/],
  [{ exp: nowS + 1, model: "" }, /names of models/],
  [{ exp: nowS + 1, models: ["a", 7] }, /names of models/],
  [{ exp: nowS + 1, model: { name: "a" } }, /names of models/],
  [{ exp: nowS + 1, spending_limit: 0 }, /spending_limit/],
  [{ exp: nowS + 1, spending_limit: "1" }, /spending_limit/],
])("claims %j give nothing", (claims, why) => {
  expect(rightsOf(claims)).toMatchObject({ ok: false, reason: expect.stringMatching(why) });
});

test("times: exp rules; without it a year from iat; the signer's clock may be ahead a little", () => {
  expect(rightsOf({ exp: nowS + 0.5 })).toMatchObject({ ok: true, value: { expiresAtMs: nowMs + 500 } });
  expect(rightsOf({ iat: nowS })).toMatchObject({
    ok: true,
    value: { expiresAtMs: nowMs + defaultLifetimeS * 1000 },
  });
  const ahead = nowS + clockSkewMs / 1000;
  expect(rightsOf({ exp: nowS + 900, iat: ahead, nbf: ahead }).ok).toBe(true);
});

test("what is composed is read back", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(
      name,
      fc.option(fc.uniqueArray(name, { minLength: 1, maxLength: 5 }), { nil: null }),
      fc.option(fc.double({ min: 0.01, max: 1000, noNaN: true }), { nil: null }),
      fc.integer({ min: 1, max: 1_000_000 }),
      (tokenName, models, spendingLimitUsd, lifetimeS) => {
        const rights = { expiresAtMs: nowMs + lifetimeS * 1000, models, spendingLimitUsd };
        const parsed = parseJwt(`${composeJwt({ ...rights, account: "ann", tokenName, id: "x" })}.AAAA`);
        if (!parsed.ok) throw new Error(parsed.reason);
        expect(parsed.value).toMatchObject({ account: "ann", tokenName });
        expect(readRights(parsed.value, nowMs)).toEqual({ ok: true, value: rights });
      },
    ),
  );
});

test("no text makes it throw", () => {
  const part = fc.oneof(fc.base64String(), fc.json().map(encodeBase64Url), fc.string());
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), fc.json(), (parts, claims) => {
      parseJwt(parts.join("."));
      const parsed = parseJwt(`${written({}).split(".")[0]}.${encodeBase64Url(claims)}.AAAA`);
      if (parsed.ok) readRights(parsed.value, nowMs);
    }),
  );
});
