//! A whole answer as C sees it.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, OnceLock};

use literllm::{ChatCompletion, Choice as EngineChoice};

use crate::chunk::{Message, ToolCall, ToolCalls, Usage, next_place};
use crate::guard::guard;
use crate::raw::{self, Movable};
use crate::text::Text;

/// A whole answer: what a chat gives and what a stream's chunks add up to. Where a function returned it, it is the caller's, to be given to
/// literllm_response_free(); else it is borrowed, as the comment of where it comes from says. What it points at lives as long as it does.
///
/// Methods: literllm_response_json, literllm_response_free.
#[repr(C)]
#[derive(Debug)]
pub struct Response {
    /// The size of this struct.
    pub size: usize,
    /// The library's own.
    pub owner: *const c_void,
    pub id: Text,
    /// The model that answered, by the provider's name for it.
    pub model: Text,
    /// In seconds since 1970.
    pub created: i64,
    /// `choices_length` pointers, none of them NULL.
    pub choices: *const *const Choice,
    pub choices_length: usize,
    /// NULL where the provider did not say.
    pub usage: *const Usage,
    /// The provider that answered.
    pub provider: Text,
    /// The provider's name for the request, for its support.
    pub request_id: Text,
    /// US dollars; negative where the price is not known.
    pub cost: f64,
}

/// One choice of a whole answer.
#[repr(C)]
#[derive(Debug)]
pub struct Choice {
    /// The size of this struct.
    pub size: usize,
    pub index: u32,
    /// Never NULL.
    pub message: *const Message,
    pub finish_reason: Text,
    /// The provider's own word for it, where that is another.
    pub native_finish_reason: Text,
}

/// The whole response as JSON, with the fields that the struct lacks. It is made when it is first asked for, and lives as long as the
/// response. NULL gives no text.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_response_json(response: Option<&Response>) -> Text {
    guard(|_| Text::NONE, || response.map_or(Text::NONE, |response| Text::of(raw::response_of(response).json())))
}

/// Frees a response that a function returned; never one that is borrowed. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_response_free(response: *mut Response) {
    guard(drop, || raw::take_response(response));
}

/// A response and what its view points at.
#[derive(Debug)]
pub struct ResponseBox {
    view: Movable<Response>,
    answer: Arc<ChatCompletion>,
    json: OnceLock<String>,
    /// The joined text of messages that came in parts.
    texts: Vec<Option<String>>,
    lists: Movable<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    choice_list: Vec<*const Choice>,
    choices: Vec<Choice>,
    messages: Vec<Message>,
    usage: Option<Box<Usage>>,
    tool_calls: ToolCalls,
}

impl ResponseBox {
    pub fn new(answer: impl Into<Arc<ChatCompletion>>) -> Box<Self> {
        let answer = answer.into();
        let view = Response {
            size: size_of::<Response>(),
            owner: ptr::null(),
            id: Text::NONE,
            model: Text::NONE,
            created: answer.created,
            choices: ptr::null(),
            choices_length: answer.choices.len(),
            usage: ptr::null(),
            provider: Text::NONE,
            request_id: Text::NONE,
            cost: -1.0,
        };
        let texts = answer
            .choices
            .iter()
            .map(|choice| {
                choice.message.content.as_ref().filter(|content| content.as_text().is_empty()).map(literllm::Content::text)
            })
            .collect();
        let mut this =
            Box::new(Self { view: Movable(view), answer, json: OnceLock::new(), texts, lists: Movable(Lists::default()) });
        this.fill();
        let owner = ptr::from_ref(&*this).cast();
        this.view.0.owner = owner;
        this
    }

    pub fn view(&self) -> *const Response {
        &raw const self.view.0
    }

    /// Hands it to C, which gives it to `literllm_response_free`.
    pub fn into_raw(self: Box<Self>) -> *mut Response {
        let this = Box::leak(self);
        this.view.0.owner = ptr::from_mut(this).cast_const().cast();
        &raw mut this.view.0
    }

    pub fn json(&self) -> &str {
        self.json
            .get_or_init(|| serde_json::to_string(&*self.answer).expect("a response is made of strings, numbers and wire types"))
    }

    fn fill(&mut self) {
        let (answer, lists) = (&*self.answer, &mut self.lists.0);
        lists.choice_list.reserve(answer.choices.len());
        lists.choices.reserve(answer.choices.len());
        lists.messages.reserve(answer.choices.len());
        lists.tool_calls.reserve(answer.choices.iter().map(|choice| choice.message.tool_calls.len()).sum());
        for (choice, text) in answer.choices.iter().zip(&self.texts) {
            lists.add(choice, text.as_deref());
        }
        lists.usage = answer.usage.as_deref().map(|usage| Box::new(Usage::of(usage)));
        let view = &mut self.view.0;
        view.id = Text::of(&answer.id);
        view.model = Text::of(&answer.model);
        view.choices = lists.choice_list.as_ptr();
        view.usage = lists.usage.as_deref().map_or(ptr::null(), ptr::from_ref);
        if let Some(meta) = answer.literllm.as_deref() {
            view.provider = Text::of_option(meta.provider.as_deref());
            view.request_id = Text::of_option(meta.request_id.as_deref());
            view.cost = meta.cost.unwrap_or(-1.0);
        }
    }
}

impl Lists {
    fn add(&mut self, choice: &EngineChoice, text: Option<&str>) {
        let message = &choice.message;
        let first_call = self.tool_calls.next();
        for (index, call) in (0..).zip(&message.tool_calls) {
            self.tool_calls.push(ToolCall {
                size: size_of::<ToolCall>(),
                index,
                id: Text::of(&call.id),
                kind: Text::of_option(call.kind.as_deref()),
                name: Text::of(&call.function.name),
                arguments: Text::of(&call.function.arguments),
            });
        }
        let place = next_place(&self.messages);
        self.messages.push(Message {
            size: size_of::<Message>(),
            role: Text::of(&message.role),
            content: Text::of_option(text.or_else(|| message.content.as_ref().map(literllm::Content::as_text))),
            refusal: Text::of_option(message.refusal.as_deref()),
            reasoning_content: Text::of_option(message.reasoning_content.as_deref()),
            tool_calls: first_call,
            tool_calls_length: message.tool_calls.len(),
        });
        self.choice_list.push(next_place(&self.choices));
        self.choices.push(Choice {
            size: size_of::<Choice>(),
            index: choice.index,
            message: place,
            finish_reason: Text::of_option(choice.finish_reason.as_deref()),
            native_finish_reason: Text::of_option(choice.native_finish_reason.as_deref()),
        });
    }
}
