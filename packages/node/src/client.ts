import { errorHere, errorOf, LlmError, Thrown } from "./errors";
import { ask, type Hook, stagesOf } from "./hooks";
import { answerOf, inbox, refusedBy } from "./inbox";
import { type NativeClient, native } from "./native";
import { type CallOptions, type ClientOptions, toCallOptions, toConfig } from "./options";
import { ChatStream } from "./stream";
import { askToken } from "./tokens";
import type { ChatCompletion, ChatCompletionRequest } from "./types";

/** Talks to every provider: `provider/model` in, OpenAI's chunks out. One client serves any number of calls at once. */
export class LlmClient {
  readonly #native: NativeClient;
  /** Where functions of the program are asked. */
  readonly #thrown: Thrown | undefined;

  /** Without options, keys and base URLs come from the usual variables, such as `OPENAI_API_KEY`. */
  constructor(options: ClientOptions = {}) {
    const { tokenProviders = {}, hooks = [] } = options;
    const list = Array.isArray(hooks) ? hooks : [hooks];
    const asksNothing = Object.keys(tokenProviders).length === 0 && list.length === 0;
    try {
      if (asksNothing) {
        this.#native = new native.Client(toConfig(options));
        return;
      }
      const questions = new native.Questions();
      const thrown = new Thrown(() => questions.forgotten());
      this.#thrown = thrown;
      // The engine holds this function: it must not hold the client, or neither would ever be collected.
      const asked = (number: number, hook: number | null | undefined, event: string) => {
        const answer = (json: string, refusal?: { thrown: unknown }) =>
          questions.answer(number, json, refusal && thrown.keep(refusal.thrown));
        if (hook == null) askToken(tokenProviders, event, answer);
        else ask(list[hook] as Hook, event, answer);
      };
      this.#native = new native.Client(toConfig(options), questions, asked, list.map(stagesOf));
    } catch (error) {
      throw error instanceof Error && error.message.startsWith("{") ? errorOf(error.message) : error;
    }
  }

  /** Asks for a stream. An error before the first chunk is thrown here, a later one by the iteration. */
  async chatStream(request: ChatCompletionRequest, options?: CallOptions): Promise<ChatStream> {
    const signal = options?.signal;
    if (signal?.aborted) throw refusedBy(signal);
    const call = this.#native.chatStream(inbox, textOf(request), toCallOptions(options));
    return ChatStream.open(call, signal, this.#thrown);
  }

  /** Asks for a whole answer. */
  async chat(request: ChatCompletionRequest, options?: CallOptions): Promise<ChatCompletion> {
    const signal = options?.signal;
    if (signal?.aborted) throw refusedBy(signal);
    const call = this.#native.chat(inbox, textOf(request), toCallOptions(options));
    return JSON.parse(await answerOf(call, signal, this.#thrown)) as ChatCompletion;
  }
}

function textOf(request: ChatCompletionRequest): string {
  try {
    return JSON.stringify(request) ?? "null";
  } catch (error) {
    throw error instanceof LlmError ? error : errorHere("invalid_request", `the request is no JSON: ${error}`, error);
  }
}
