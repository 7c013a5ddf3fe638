// Compiles only while our types take what `openai` users have, and while the helpers know their types.
import {
  type AssistantMessage,
  type ChatCompletion,
  type ChatCompletionChunk,
  type ChatCompletionRequest,
  jsonSchema,
  LlmClient,
  type ToolCall,
  tool,
  type Usage,
} from "@kreuzberg/liter-llm";
import type OpenAI from "openai";
import { z } from "zod";

declare const theirChunk: OpenAI.Chat.ChatCompletionChunk;
export const chunk: ChatCompletionChunk = theirChunk;

declare const theirMessage: Omit<OpenAI.Chat.ChatCompletionMessage, "tool_calls">;
export const message: AssistantMessage = theirMessage;

declare const theirCall: OpenAI.Chat.ChatCompletionMessageFunctionToolCall;
export const call: ToolCall = theirCall;

declare const theirUsage: OpenAI.CompletionUsage;
export const usage: Usage = theirUsage;

declare const theirRequest: OpenAI.Chat.ChatCompletionCreateParams;
export const request: ChatCompletionRequest = theirRequest;

declare const theirMessages: OpenAI.Chat.ChatCompletionMessageParam[];
export const messages: ChatCompletionRequest["messages"] = theirMessages;

declare const theirTools: OpenAI.Chat.ChatCompletionTool[];
export const tools: ChatCompletionRequest["tools"] = theirTools;

const client = new LlmClient({ apiKey: process.env.OPENAI_API_KEY! });
const chunks = await client.chatStream({
  model: "openai/gpt-4o",
  messages: [{ role: "user", content: "Tell me a story" }],
});
for (const chunk of chunks) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
for await (const chunk of chunks) process.stdout.write(chunk.choices?.[0]?.delta?.content ?? "");
await using left = await client.chatStream(request);
export const response: ChatCompletion = await left.finalResponse();

// An answer's message goes back as it is.
export const conversation: ChatCompletionRequest["messages"] = response.choices.map((choice) => choice.message);

const weather = tool({ name: "weather", parameters: z.object({ city: z.string(), days: z.number().optional() }) });
export const city: string = weather.parse({ function: { name: "weather", arguments: "{}" } }).city;
export const untyped: unknown = tool({ name: "t", parameters: { type: "object" } }).parse({
  function: { name: "t", arguments: "{}" },
});
// @ts-expect-error: the schema says it is a string.
export const wrong: number = weather.parse({ function: { name: "weather", arguments: "{}" } }).city;

// A hook's events and answers are known by its functions' names.
new LlmClient({
  hooks: {
    beforeRequest: ({ request, model }) => (model === "demo" ? { request: { ...request, seed: 1 } } : undefined),
    afterHeaders: async ({ status, requestId }) => {
      if (status > 200) return { error: { kind: "server", message: requestId ?? "" } };
    },
    onChunks: ({ chunks }) => ({ chunks: chunks.filter((chunk) => chunk.choices.length > 0) }),
    onError: ({ error }) => ({ error }),
    onEnd: async ({ response, seconds }) => console.log(response?.usage?.total_tokens, seconds),
  },
});
// @ts-expect-error: there is no such kind.
new LlmClient({ hooks: [{ beforeRequest: () => ({ error: { kind: "bad", message: "" } }) }] });
// @ts-expect-error: a request cannot be changed when its chunks have come.
new LlmClient({ hooks: { onChunks: () => ({ request: { model: "m", messages: [] } }) } });

const format = jsonSchema("person", z.object({ name: z.string() }));
await client.chat({ model: ["openai/gpt-4o", "groq/llama-4"], messages, tools: [weather], response_format: format });
export const name: string = format.parse(response).name;
