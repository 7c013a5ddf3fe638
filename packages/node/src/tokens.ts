/** Sources of tokens: functions that the engine asks when it has no token of a provider, or the one it has is about to end. */

/** A token, or AWS's keys for Bedrock. */
export type Token = ({ token: string } | AwsKeys) & {
  /** In milliseconds since 1970, or a date. Without it the token is asked for again with every request. */
  expiresAt?: number | Date;
};

export interface AwsKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** What gives a provider's tokens, at once or later. One that throws fails the call with its message. */
export type TokenProvider = () => Token | Promise<Token>;

/** @internal Asks for the token that an event names. It answers in the engine's JSON; with what was thrown, if that is why. */
export async function askToken(
  providers: Record<string, TokenProvider>,
  event: string,
  answer: (json: string, refusal?: { thrown: unknown }) => void,
): Promise<void> {
  const { provider } = JSON.parse(event) as { provider: string };
  try {
    const given = await (providers[provider] as TokenProvider)();
    // An error of JavaScript's own would quote what it was given.
    if (typeof given !== "object" || given === null) throw new TypeError("it returns no object with `token`");
    const expires_at = given.expiresAt === undefined ? undefined : Number(given.expiresAt) / 1000;
    answer(JSON.stringify({ token: { secret: secretOf(given), expires_at } }));
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    answer(JSON.stringify({ error: { message } }), { thrown });
  }
}

function secretOf(given: Token): unknown {
  if ("token" in given) return given.token;
  const { accessKeyId, secretAccessKey, sessionToken } = given;
  return { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token: sessionToken };
}
