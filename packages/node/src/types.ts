/**
 * The wire: OpenAI's request, response and chunk, by OpenAI's names. Sets that vendors extend are open, and fields that are not named
 * here are carried in both directions.
 */

/** A set that vendors extend: the known values are suggested, and any other may come. */
type Open<Known extends string> = Known | (string & {});

export type FinishReason = Open<"stop" | "length" | "tool_calls" | "content_filter" | "function_call">;
export type Role = Open<"system" | "developer" | "user" | "assistant" | "tool" | "function">;

export type JsonSchema = Record<string, unknown>;

/** One piece of a streamed answer. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: ChunkChoice[];
  /** Only in the last chunk, and only where `stream_options.include_usage` asked for it. */
  usage?: Usage | null;
  system_fingerprint?: string | null;
  service_tier?: string | null;
  /** On the first chunk of every later leg of an answer that was gone on with: what happened. */
  literllm?: LegEvent;
}

/** How an answer goes on after a route failed. */
export interface LegEvent {
  /** `resumed`: what follows goes on from what was said. `reset`: what was said is void, and the answer begins anew. */
  event: Open<"resumed" | "reset">;
  /** The number of the attempt that goes on, from 1. */
  attempt: number;
  provider: string;
  model: string;
  /** The error kind for which the route before was left. */
  reason: string;
  mode: Open<"prefill" | "user_turn" | "restart">;
  /** How many characters of the answer so far are kept. */
  kept: number;
  /** The routes that failed since the leg before. */
  failed?: { provider: string; model: string; kind: string; message: string }[];
}

export interface ChunkChoice {
  index: number;
  delta: Delta;
  logprobs?: Logprobs | null;
  finish_reason: FinishReason | null;
  /** The provider's own word for it. */
  native_finish_reason?: string | null;
}

/** What a chunk adds to a choice's message. */
export interface Delta {
  role?: Role;
  content?: string | null;
  refusal?: string | null;
  /** The model's thinking, as text. */
  reasoning_content?: string | null;
  tool_calls?: ToolCallDelta[];
  /** The older form of a tool call. */
  function_call?: { name?: string; arguments?: string };
  /** Signed or redacted thinking, to be sent back unchanged. */
  thinking_blocks?: ThinkingBlock[];
  /** Reasoning in the host's own form, to be sent back unchanged. */
  reasoning_details?: unknown[];
  annotations?: Annotation[];
  audio?: AudioAnswer | null;
}

/** A piece of a tool call. The first piece of a call carries `id`, `type` and the name; later ones only arguments. */
export interface ToolCallDelta {
  /** Which call of this answer: 0, 1, 2 … */
  index: number;
  id?: string;
  type?: string;
  function?: { name?: string; arguments?: string };
}

/** A whole answer: what `chat` gives and what a finished stream adds up to. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: Choice[];
  usage?: Usage | null;
  system_fingerprint?: string | null;
  service_tier?: string | null;
  /** Who answered and at what cost. */
  literllm?: AnswerMeta;
}

export interface Choice {
  index: number;
  message: AssistantMessage;
  logprobs?: Logprobs | null;
  finish_reason: FinishReason | null;
  native_finish_reason?: string | null;
}

export interface AnswerMeta {
  provider?: string;
  request_id?: string;
  /** The headers of the provider's answer, cookies left out. */
  headers?: Record<string, string>;
  /** US dollars, where the model's price is known. */
  cost?: number;
  /** Whether the answer was kept from an earlier call; it cost nothing then. */
  cached?: boolean;
  /** Every route that was asked, in order, where `model` is a list. */
  attempts?: AttemptReport[];
}

/** One route that was asked, and what came of it. */
export interface AttemptReport {
  provider: string;
  model: string;
  request_id?: string;
  /** Where it went on from another. */
  mode?: string;
  /** The error kind, where it failed. */
  error?: string;
  message?: string;
  /** When it was asked, in seconds from the beginning of the call, and how long it took. */
  started: number;
  seconds: number;
  /** How many characters of the answer came from it. */
  characters: number;
  usage?: Usage;
  cost?: number;
}

/** What the model said. It can be sent back as a message of the next request, as it is. */
export interface AssistantMessage {
  role: Role;
  content?: string | null;
  refusal?: string | null;
  reasoning_content?: string | null;
  tool_calls?: ToolCall[];
  function_call?: FunctionCall | null;
  thinking_blocks?: ThinkingBlock[];
  reasoning_details?: unknown[];
  annotations?: Annotation[];
  audio?: AudioAnswer | null;
}

export interface ToolCall {
  id: string;
  type: Open<"function">;
  function: FunctionCall;
}

export interface FunctionCall {
  name: string;
  /** JSON text, as the model wrote it. */
  arguments: string;
}

export interface ThinkingBlock {
  type: Open<"thinking" | "redacted_thinking">;
  thinking?: string;
  signature?: string;
  data?: string;
}

export interface Annotation {
  type: Open<"url_citation">;
  url_citation?: { url?: string; title?: string; start_index?: number; end_index?: number };
}

export interface AudioAnswer {
  id?: string;
  data?: string;
  transcript?: string;
  expires_at?: number;
}

export interface Logprobs {
  content?: TokenLogprob[] | null;
  refusal?: TokenLogprob[] | null;
}

export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes?: number[] | null;
  top_logprobs?: { token: string; logprob: number; bytes?: number[] | null }[];
}

/** Token counts. `prompt_tokens` includes cached ones, `completion_tokens` includes reasoning, whatever the provider's own arithmetic. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details?: { cached_tokens?: number; cache_creation_tokens?: number; audio_tokens?: number };
  completion_tokens_details?: {
    reasoning_tokens?: number;
    audio_tokens?: number;
    accepted_prediction_tokens?: number;
    rejected_prediction_tokens?: number;
  };
}

/** OpenAI's chat request. A vendor's own fields may be spread in; they are sent as they are. */
export interface ChatCompletionRequest {
  /** `provider/model`, or a list of them to be tried in order. */
  model: Open<string> | string[];
  messages: Message[];
  stream_options?: { include_usage?: boolean } | null;
  temperature?: number | null;
  top_p?: number | null;
  n?: number | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  stop?: string | string[] | null;
  seed?: number | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  logit_bias?: Record<string, number> | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  tools?: Tool[];
  tool_choice?: ToolChoice;
  parallel_tool_calls?: boolean;
  response_format?: ResponseFormat;
  reasoning_effort?: Open<"none" | "minimal" | "low" | "medium" | "high"> | null;
  verbosity?: Open<"low" | "medium" | "high"> | null;
  modalities?: string[] | null;
  audio?: { voice: unknown; format: string } | null;
  prediction?: unknown;
  web_search_options?: unknown;
  metadata?: Record<string, unknown> | null;
  store?: boolean | null;
  service_tier?: string | null;
  user?: string;
  /** How an answer that breaks off is gone on with, where `model` is a list. */
  stream_fallback_mode?: StreamFallbackMode;
}

export type StreamFallbackMode = Open<"auto" | "prefill" | "user_turn" | "restart" | "off">;

/** One message of a conversation; an answer's message is one, too. */
export interface Message {
  role: Role;
  content?: string | ContentPart[] | null;
  name?: string;
  tool_calls?: (ToolCall | { id: string; type: string })[];
  /** In a `tool` message: the call this is the result of. */
  tool_call_id?: string;
  refusal?: string | null;
  reasoning_content?: string | null;
  thinking_blocks?: ThinkingBlock[];
  reasoning_details?: unknown[];
  annotations?: Annotation[];
  audio?: { id?: string } | null;
  function_call?: FunctionCall | null;
}

export type ContentPart =
  | { type: "text"; text: string }
  | { type: "image_url"; image_url: { url: string; detail?: string } }
  | { type: "input_audio"; input_audio: { data: string; format: string } }
  | { type: "file"; file: { file_id?: string; filename?: string; file_data?: string } }
  | { type: "refusal"; refusal: string };

export type Tool = FunctionTool | { type: Exclude<string, "function"> };

export interface FunctionTool {
  type: "function";
  function: { name: string; description?: string; parameters?: JsonSchema; strict?: boolean | null };
}

export type ToolChoice =
  | "auto"
  | "none"
  | "required"
  | { type: "function"; function: { name: string } }
  | { type: string };

export type ResponseFormat = { type: "text" } | { type: "json_object" } | JsonSchemaFormat | { type: string };

export interface JsonSchemaFormat {
  type: "json_schema";
  json_schema: { name: string; description?: string; schema?: JsonSchema; strict?: boolean | null };
}
