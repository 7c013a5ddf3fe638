//! Chunks as C sees them: structs that point into the engine's own.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use literllm::{ChatCompletionChunk, ChunkChoice as EngineChoice, Delta, FunctionDelta, ToolCallDelta, Usage as EngineUsage};

use crate::guard::guard;
use crate::raw::{self, Movable};
use crate::text::Text;

/// One piece of a streamed answer, as OpenAI's `chat.completion.chunk`. It and all that it points at are borrowed: until `on_chunks` returns,
/// or until the next call of literllm_stream_next(). Structs grow at their ends; `size` says how much of one this library knows.
///
/// Methods: literllm_chunk_json.
#[repr(C)]
#[derive(Debug)]
pub struct Chunk {
    /// The size of this struct.
    pub size: usize,
    /// The library's own.
    pub source: *const c_void,
    /// The same in every chunk of an answer.
    pub id: Text,
    /// The model that answers, by the provider's name for it.
    pub model: Text,
    /// When the answer was begun, in seconds since 1970.
    pub created: i64,
    /// `choices_length` pointers, none of them NULL. The chunk with the usage has none.
    pub choices: *const *const ChunkChoice,
    pub choices_length: usize,
    /// NULL in every chunk but the last, and there unless it was asked for.
    pub usage: *const Usage,
    pub system_fingerprint: Text,
    pub service_tier: Text,
    /// Whether the chunk's JSON says more than this struct and those it points at: log probabilities, citations, sound, thinking with its
    /// signature, fields that this version does not know.
    pub has_more: bool,
}

/// What a chunk says about one choice.
#[repr(C)]
#[derive(Debug)]
pub struct ChunkChoice {
    /// The size of this struct.
    pub size: usize,
    /// Which choice; 0 unless several were asked for.
    pub index: u32,
    /// What is added to the choice's message. Never NULL.
    pub delta: *const Message,
    /// Why the choice ended: `stop`, `length`, `tool_calls`, `content_filter` or a provider's own. Once in each choice, at its end.
    pub finish_reason: Text,
    /// The provider's own word for it, where that is another.
    pub native_finish_reason: Text,
}

/// A message, or what a chunk adds to one.
#[repr(C)]
#[derive(Debug)]
pub struct Message {
    /// The size of this struct.
    pub size: usize,
    /// In a chunk: in the choice's first.
    pub role: Text,
    pub content: Text,
    pub refusal: Text,
    /// The model's thinking.
    pub reasoning_content: Text,
    /// `tool_calls_length` pointers, none of them NULL.
    pub tool_calls: *const *const ToolCall,
    pub tool_calls_length: usize,
}

/// A tool call, or a piece of one. The first piece of a call carries id, type and name; each carries a piece of the arguments.
#[repr(C)]
#[derive(Debug)]
pub struct ToolCall {
    /// The size of this struct.
    pub size: usize,
    /// Which call of this answer: 0, 1, 2 and so on.
    pub index: u32,
    pub id: Text,
    /// `function`.
    pub kind: Text,
    pub name: Text,
    /// JSON text, as the model wrote it.
    pub arguments: Text,
}

/// Counts of tokens. `prompt_tokens` includes cached ones and `completion_tokens` includes reasoning. -1: the provider does not say.
#[repr(C)]
#[derive(Debug)]
pub struct Usage {
    /// The size of this struct.
    pub size: usize,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub total_tokens: i64,
    pub cached_tokens: i64,
    pub reasoning_tokens: i64,
}

/// The whole chunk as JSON, with the fields that the struct lacks. It is made when it is first asked for, and borrowed as long as the chunk.
/// NULL gives no text.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_chunk_json(chunk: Option<&Chunk>) -> Text {
    guard(
        |_| Text::NONE,
        || {
            let Some(chunk) = chunk else { return Text::NONE };
            raw::source(chunk).json(chunk)
        },
    )
}

/// What the views of a batch were made of, side by side with them, and the JSON of those that were asked for it.
#[derive(Debug)]
pub struct Source {
    first: *const Chunk,
    shown: *const ChatCompletionChunk,
    texts: Mutex<HashMap<usize, Box<str>>>,
}

/// The views of the chunks that came together. Its memory is used again for the next ones.
#[derive(Debug, Default)]
pub struct Views(Movable<Lists>);

#[derive(Debug, Default)]
struct Lists {
    source: Option<Box<Source>>,
    chunk_list: Vec<*const Chunk>,
    chunks: Vec<Chunk>,
    choice_list: Vec<*const ChunkChoice>,
    choices: Vec<ChunkChoice>,
    messages: Vec<Message>,
    usages: Vec<Usage>,
    tool_calls: ToolCalls,
}

/// Tool calls and the pointers to them.
#[derive(Debug, Default)]
pub struct ToolCalls {
    list: Vec<*const ToolCall>,
    calls: Vec<ToolCall>,
}

impl Source {
    fn json(&self, view: &Chunk) -> Text {
        let at = (std::ptr::from_ref(view).addr() - self.first.addr()) / size_of::<Chunk>();
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        Text::of(texts.entry(at).or_insert_with(|| {
            let text =
                serde_json::to_string(raw::nth(self.shown, at)).expect("a chunk is made of strings, numbers and wire types");
            text.into_boxed_str()
        }))
    }
}

impl Default for Movable<Lists> {
    fn default() -> Self {
        Self(Lists::default())
    }
}

impl Views {
    /// Shows chunks, which must stay where they are until [`Self::clear`] or the next ones.
    pub fn show(&mut self, shown: &[ChatCompletionChunk]) -> &[*const Chunk] {
        self.clear();
        let lists = &mut self.0.0;
        // Pointers are taken of places that are filled later: no list may move once it has begun.
        let (mut choices, mut calls, mut usages) = (0, 0, 0);
        for chunk in shown {
            choices += chunk.choices.len();
            calls += chunk.choices.iter().map(|choice| choice.delta.tool_calls.len()).sum::<usize>();
            usages += usize::from(chunk.usage.is_some());
        }
        lists.chunk_list.reserve(shown.len());
        lists.chunks.reserve(shown.len());
        lists.choice_list.reserve(choices);
        lists.choices.reserve(choices);
        lists.messages.reserve(choices);
        lists.usages.reserve(usages);
        lists.tool_calls.reserve(calls);
        let source = Source { first: lists.chunks.as_ptr(), shown: shown.as_ptr(), texts: Mutex::default() };
        let source = std::ptr::from_ref(&**lists.source.insert(Box::new(source))).cast();
        for chunk in shown {
            lists.add(chunk, source);
        }
        &lists.chunk_list
    }

    pub fn clear(&mut self) {
        let lists = &mut self.0.0;
        lists.source = None;
        lists.chunk_list.clear();
        lists.chunks.clear();
        lists.choice_list.clear();
        lists.choices.clear();
        lists.messages.clear();
        lists.usages.clear();
        lists.tool_calls.list.clear();
        lists.tool_calls.calls.clear();
    }
}

impl Lists {
    fn add(&mut self, chunk: &ChatCompletionChunk, source: *const c_void) {
        // Every field by name: one that is new in the engine is shown here, or counted among what only the JSON says.
        let ChatCompletionChunk { id, created, model, choices, usage, system_fingerprint, service_tier, literllm, extra } = chunk;
        let first_choice = next_place(&self.choice_list);
        let mut has_more = !extra.is_empty() || literllm.is_some();
        for choice in choices {
            has_more |= self.add_choice(choice);
        }
        let usage = usage.as_deref().map_or(std::ptr::null(), |usage| {
            has_more |= usage_has_more(usage);
            let place = next_place(&self.usages);
            self.usages.push(Usage::of(usage));
            place
        });
        self.chunk_list.push(next_place(&self.chunks));
        self.chunks.push(Chunk {
            size: size_of::<Chunk>(),
            source,
            id: Text::of(id),
            model: Text::of(model),
            created: *created,
            choices: first_choice,
            choices_length: choices.len(),
            usage,
            system_fingerprint: Text::of_option(system_fingerprint.as_deref()),
            service_tier: Text::of_option(service_tier.as_deref()),
            has_more,
        });
    }

    /// Whether its JSON says more than the view.
    fn add_choice(&mut self, choice: &EngineChoice) -> bool {
        let EngineChoice { index, delta, logprobs, finish_reason, native_finish_reason, extra } = choice;
        let Delta {
            role,
            content,
            refusal,
            reasoning_content,
            tool_calls,
            function_call,
            thinking_blocks,
            reasoning_details,
            annotations,
            audio,
            extra: delta_extra,
        } = delta;
        let mut has_more = logprobs.is_some()
            || !extra.is_empty()
            || function_call.is_some()
            || !thinking_blocks.is_empty()
            || !reasoning_details.is_empty()
            || !annotations.is_empty()
            || audio.is_some()
            || !delta_extra.is_empty();
        let first_call = self.tool_calls.next();
        for call in tool_calls {
            let ToolCallDelta { index, id, kind, function, extra } = call;
            has_more |= !extra.is_empty();
            let (mut name, mut arguments) = (Text::NONE, Text::NONE);
            if let Some(function) = function {
                let FunctionDelta { name: its_name, arguments: its_arguments, extra } = function;
                has_more |= !extra.is_empty();
                name = Text::of_option(its_name.as_deref());
                arguments = Text::of_option(its_arguments.as_deref());
            }
            let (id, kind) = (Text::of_option(id.as_deref()), Text::of_option(kind.as_deref()));
            self.tool_calls.push(ToolCall { size: size_of::<ToolCall>(), index: *index, id, kind, name, arguments });
        }
        let message = next_place(&self.messages);
        self.messages.push(Message {
            size: size_of::<Message>(),
            role: Text::of_option(role.as_deref()),
            content: Text::of_option(content.as_deref()),
            refusal: Text::of_option(refusal.as_deref()),
            reasoning_content: Text::of_option(reasoning_content.as_deref()),
            tool_calls: first_call,
            tool_calls_length: tool_calls.len(),
        });
        self.choice_list.push(next_place(&self.choices));
        self.choices.push(ChunkChoice {
            size: size_of::<ChunkChoice>(),
            index: *index,
            delta: message,
            finish_reason: Text::of_option(finish_reason.as_deref()),
            native_finish_reason: Text::of_option(native_finish_reason.as_deref()),
        });
        has_more
    }
}

impl ToolCalls {
    pub fn reserve(&mut self, count: usize) {
        self.list.reserve(count);
        self.calls.reserve(count);
    }

    /// Where the pointer to the next one will be.
    pub fn next(&self) -> *const *const ToolCall {
        next_place(&self.list)
    }

    pub fn push(&mut self, call: ToolCall) {
        self.list.push(next_place(&self.calls));
        self.calls.push(call);
    }
}

impl Usage {
    pub fn of(usage: &EngineUsage) -> Self {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        let reasoning = usage.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens);
        Self {
            size: size_of::<Self>(),
            prompt_tokens: count(usage.prompt_tokens),
            completion_tokens: count(usage.completion_tokens),
            total_tokens: count(usage.total_tokens),
            cached_tokens: cached.map_or(-1, count),
            reasoning_tokens: reasoning.map_or(-1, count),
        }
    }
}

/// Whether a usage is more than its view.
fn usage_has_more(usage: &EngineUsage) -> bool {
    let mut known = EngineUsage::counted(usage.prompt_tokens, usage.completion_tokens, None, None);
    known.total_tokens = usage.total_tokens;
    if let Some(cached) = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens) {
        known.prompt_tokens_details.get_or_insert_default().cached_tokens = Some(cached);
    }
    if let Some(reasoning) = usage.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens) {
        known.completion_tokens_details.get_or_insert_default().reasoning_tokens = Some(reasoning);
    }
    known != *usage
}

/// Where the next item of a list that does not move will be. Of the list, since a slice ends before it.
#[allow(clippy::ptr_arg)]
pub fn next_place<T>(list: &Vec<T>) -> *const T {
    list.as_ptr().wrapping_add(list.len())
}
