import { errorHere, errorOf, LlmError } from "./errors";
import { ask, type Hook, stagesOf } from "./hooks";
import { answerOf, inbox, refusedBy } from "./inbox";
import { type NativeClient, type NativeQuestions, native } from "./native";
import { type CallOptions, type ClientOptions, type Token, toCallOptions, toConfig } from "./options";
import { ChatStream } from "./stream";
import type { ChatCompletion, ChatCompletionRequest } from "./types";

/** Talks to every provider: `provider/model` in, OpenAI's chunks out. One client serves any number of calls at once. */
export class LlmClient {
  readonly #native: NativeClient;
  readonly #blockable: boolean;

  /** Without options, keys and base URLs come from the usual variables, such as `OPENAI_API_KEY`. */
  constructor(options: ClientOptions = {}) {
    const { tokenProviders = {}, hooks = [] } = options;
    const list = Array.isArray(hooks) ? hooks : [hooks];
    const providers = Object.keys(tokenProviders);
    this.#blockable = providers.length === 0 && list.length === 0;
    try {
      if (this.#blockable) {
        this.#native = new native.Client(toConfig(options));
        return;
      }
      const questions = new native.Questions();
      // The engine holds this function: it must not hold the client, or neither would ever be collected.
      const asked = (number: number, hook: number | null | undefined, text: string) => {
        if (hook == null) giveToken(questions, number, tokenProviders[text]);
        else giveAnswer(questions, number, ask(list[hook] as Hook, text));
      };
      this.#native = new native.Client(toConfig(options), questions, asked, providers, list.map(stagesOf));
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

async function giveToken(
  questions: NativeQuestions,
  number: number,
  provider?: () => Token | Promise<Token>,
): Promise<void> {
  try {
    const { token, expiresAt } = await (provider as () => Token | Promise<Token>)();
    questions.answerToken(number, token, expiresAt === undefined ? undefined : Number(expiresAt));
  } catch (error) {
    questions.answerToken(number, undefined, undefined, error instanceof Error ? error.message : String(error));
  }
}

async function giveAnswer(questions: NativeQuestions, number: number, answer: string | Promise<string>): Promise<void> {
  questions.answerHook(number, typeof answer === "string" ? answer : await answer);
}
