/**
 * The mirror as a port: repositories served on in the Hugging Face protocol, without a word about the web framework.
 */

export type MirrorQuestion = {
  readonly method: "GET" | "HEAD";
  /** Path and query below the mirror's own address, as they came, beginning with "/". */
  readonly target: string;
  readonly range: string | null;
  readonly account: string;
  /** Address of the mirror as the asker knows it, without a slash at its end; for links to further pages. */
  readonly baseUrl: string;
};

export type MirrorAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Fails when what it gave turns out to be wrong: the asker must not take it for whole then. Null for none. */
  readonly body: AsyncIterable<Uint8Array> | string | null;
};

/** Serves repositories in the Hugging Face protocol, each asker with the read rights of its account. */
export interface Mirror {
  answer(question: MirrorQuestion, signal: AbortSignal): Promise<MirrorAnswer>;
}
