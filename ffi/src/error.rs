//! Errors as C sees them.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::OnceLock;

use literllm::ErrorKind;

use crate::guard::guard;
use crate::raw::{self, Movable};
use crate::response::{Response, ResponseBox};
use crate::text::Text;

/// What went wrong. Where a function returned it, it is the caller's, to be given to literllm_error_free(); else it is borrowed, as the comment
/// of where it comes from says. What it points at lives as long as it does. Texts have no data where nothing is known.
///
/// Methods: literllm_error_json, literllm_error_free.
#[repr(C)]
#[derive(Debug)]
pub struct Error {
    /// The size of this struct.
    pub size: usize,
    /// The library's own.
    pub owner: *const c_void,
    pub kind: ErrorKind,
    /// The HTTP status; 0 where there was no answer.
    pub status: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How many seconds the provider asks to wait; negative where it does not say.
    pub retry_after: f64,
    /// For people: what happened, to which provider and model. It carries no key. Also NUL-terminated.
    pub message: Text,
    pub provider: Text,
    pub model: Text,
    /// The provider's name for the request, for its support.
    pub request_id: Text,
    /// The provider's own code.
    pub code: Text,
    /// The request's field that the provider blames.
    pub param: Text,
    /// The raw body of the provider's error.
    pub body: Text,
    /// What had been streamed before it; NULL where nothing had.
    pub partial: *const Response,
    /// Where every model of a list failed: `causes_length` pointers, the error of each.
    pub causes: *const *const Error,
    pub causes_length: usize,
}

/// The name of a kind, such as "rate_limited"; "unknown" for a number that is none. Static; never freed.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_error_kind_name(kind: u32) -> *const c_char {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    guard(
        |_| c"unknown".as_ptr(),
        || {
            let names = NAMES.get_or_init(|| ErrorKind::ALL.iter().map(|kind| format!("{kind}\0")).collect());
            let at = ErrorKind::ALL.iter().position(|&known| known as u32 == kind);
            at.map_or(c"unknown".as_ptr(), |at| names[at].as_ptr().cast())
        },
    )
}

/// The error as JSON, made when it is first asked for. It lives as long as the error. NULL gives no text.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_error_json(error: Option<&Error>) -> Text {
    guard(
        |_| Text::NONE,
        || {
            let Some(error) = error else { return Text::NONE };
            let owner = raw::error_of(error);
            Text::of(owner.json.get_or_init(|| owner.error.to_json()))
        },
    )
}

/// Frees an error that a function returned; never one that is borrowed. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_error_free(error: *mut Error) {
    guard(drop, || raw::take_error(error));
}

/// An error and what its view points at.
#[derive(Debug)]
pub struct ErrorBox {
    view: Movable<Error>,
    error: literllm::Error,
    message: String,
    json: OnceLock<String>,
    partial: Option<Box<ResponseBox>>,
    /// Each is pointed at, and stays where it is.
    #[allow(clippy::vec_box)]
    causes: Vec<Box<ErrorBox>>,
    cause_list: Movable<Vec<*const Error>>,
}

impl ErrorBox {
    pub fn new(error: literllm::Error) -> Box<Self> {
        let causes: Vec<_> = error.causes().iter().cloned().map(Self::new).collect();
        let view = Error {
            size: size_of::<Error>(),
            owner: ptr::null(),
            kind: error.kind(),
            status: error.status().unwrap_or(0),
            retryable: error.is_retryable(),
            retry_after: error.retry_after().map_or(-1.0, |wait| wait.as_secs_f64()),
            message: Text::NONE,
            provider: Text::NONE,
            model: Text::NONE,
            request_id: Text::NONE,
            code: Text::NONE,
            param: Text::NONE,
            body: Text::NONE,
            partial: ptr::null(),
            causes: ptr::null(),
            causes_length: causes.len(),
        };
        let mut this = Box::new(Self {
            view: Movable(view),
            message: format!("{error}\0"),
            json: OnceLock::new(),
            partial: error.partial().cloned().map(ResponseBox::new),
            cause_list: Movable(causes.iter().map(|cause| cause.view()).collect()),
            causes,
            error,
        });
        this.fill();
        let owner = ptr::from_ref(&*this).cast();
        this.view.0.owner = owner;
        this
    }

    pub fn view(&self) -> *const Error {
        &raw const self.view.0
    }

    /// Hands it to C, which gives it to `literllm_error_free`.
    pub fn into_raw(self: Box<Self>) -> *mut Error {
        let this = Box::leak(self);
        this.view.0.owner = ptr::from_mut(this).cast_const().cast();
        &raw mut this.view.0
    }

    fn fill(&mut self) {
        let (view, error) = (&mut self.view.0, &self.error);
        view.message = Text::of(self.message.trim_end_matches('\0'));
        view.provider = Text::of_option(error.provider());
        view.model = Text::of_option(error.model());
        view.request_id = Text::of_option(error.request_id());
        view.code = Text::of_option(error.code());
        view.param = Text::of_option(error.param());
        view.body = Text::of_option(error.body());
        view.partial = self.partial.as_ref().map_or(ptr::null(), |partial| partial.view());
        view.causes = self.cause_list.0.as_ptr();
        debug_assert_eq!(self.causes.len(), view.causes_length);
    }
}
