import { errorHere, errorOf, LlmError } from "./errors";
import { answerOf, inbox, refusedBy } from "./inbox";
import { type NativeClient, native } from "./native";
import { type CallOptions, type ClientOptions, type Token, toCallOptions, toConfig } from "./options";
import { ChatStream } from "./stream";
import type { ChatCompletion, ChatCompletionRequest } from "./types";

/** Talks to every provider: `provider/model` in, OpenAI's chunks out. One client serves any number of calls at once. */
export class LlmClient {
  readonly #native: NativeClient;
  readonly #blockable: boolean;

  /** Without options, keys and base URLs come from the usual variables, such as `OPENAI_API_KEY`. */
  constructor(options: ClientOptions = {}) {
    const providers = options.tokenProviders ?? {};
    const names = Object.keys(providers);
    this.#blockable = names.length === 0;
    try {
      if (this.#blockable) {
        this.#native = new native.Client(toConfig(options));
        return;
      }
      // The engine holds this function, and the client the engine: held firmly, neither would ever be collected.
      let self: WeakRef<NativeClient>;
      const giveToken = async (number: number, provider: string) => {
        try {
          const { token, expiresAt } = await (providers[provider] as () => Token | Promise<Token>)();
          self.deref()?.supplyToken(number, token, expiresAt === undefined ? undefined : Number(expiresAt));
        } catch (error) {
          self
            .deref()
            ?.supplyToken(number, undefined, undefined, error instanceof Error ? error.message : String(error));
        }
      };
      this.#native = new native.Client(toConfig(options), names, giveToken);
      self = new WeakRef(this.#native);
    } catch (error) {
      throw error instanceof Error && error.message.startsWith("{") ? errorOf(error.message) : error;
    }
  }

  /** Asks for a stream. An error before the first chunk is thrown here, a later one by the iteration. */
  async chatStream(request: ChatCompletionRequest, options?: CallOptions): Promise<ChatStream> {
    const signal = options?.signal;
    if (signal?.aborted) throw refusedBy(signal);
    const call = this.#native.chatStream(inbox, textOf(request), toCallOptions(options));
    return ChatStream.open(call, signal, this.#blockable);
  }

  /** Asks for a whole answer. */
  async chat(request: ChatCompletionRequest, options?: CallOptions): Promise<ChatCompletion> {
    const signal = options?.signal;
    if (signal?.aborted) throw refusedBy(signal);
    const call = this.#native.chat(inbox, textOf(request), toCallOptions(options));
    return JSON.parse(await answerOf(call, signal)) as ChatCompletion;
  }
}

function textOf(request: ChatCompletionRequest): string {
  try {
    return JSON.stringify(request) ?? "null";
  } catch (error) {
    throw error instanceof LlmError ? error : errorHere("invalid_request", `the request is no JSON: ${error}`, error);
  }
}
