//! The wire's own JSON, for those who keep requests and answers as text.

use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ClientConfig, Error, ErrorKind, Message, Models, RequestOptions,
};
use serde_json::Value;

use crate::NativeError;

/// Reads a client's configuration from JSON, by the names that every language uses.
#[uniffi::export]
pub fn config_from_json(json: &str) -> Result<ClientConfig, NativeError> {
    Ok(ClientConfig::from_json(json)?)
}

/// Reads a call's options from JSON, by the names that every language uses.
#[uniffi::export]
pub fn options_from_json(json: &str) -> Result<RequestOptions, NativeError> {
    Ok(RequestOptions::from_json(json)?)
}

/// Reads a request from OpenAI's JSON.
#[uniffi::export]
pub fn request_from_json(json: &str) -> Result<ChatCompletionRequest, NativeError> {
    read(json, "request")
}

/// A request as OpenAI's JSON.
#[uniffi::export]
pub fn request_to_json(request: &ChatCompletionRequest) -> String {
    write(request)
}

/// Reads a message from OpenAI's JSON.
#[uniffi::export]
pub fn message_from_json(json: &str) -> Result<Message, NativeError> {
    read(json, "message")
}

/// A message as OpenAI's JSON.
#[uniffi::export]
pub fn message_to_json(message: &Message) -> String {
    write(message)
}

/// A chunk as OpenAI's JSON.
#[uniffi::export]
pub fn chunk_to_json(chunk: &ChatCompletionChunk) -> String {
    write(chunk)
}

/// Reads a chunk from OpenAI's JSON.
#[uniffi::export]
pub fn chunk_from_json(json: &str) -> Result<ChatCompletionChunk, NativeError> {
    read(json, "chunk")
}

/// An answer as OpenAI's JSON.
#[uniffi::export]
pub fn completion_to_json(completion: &ChatCompletion) -> String {
    write(completion)
}

/// A list of models, to be tried in order, as the text that a request's `model` is.
#[uniffi::export]
pub fn models_from_list(models: Vec<String>) -> Models {
    Models::from(models)
}

/// The models that a request's `model` names.
#[uniffi::export]
pub fn models_to_list(models: &Models) -> Vec<String> {
    models.all().to_vec()
}

/// The beginning of a JSON text as whole JSON: open strings, lists and objects are closed, half a word is left out. For tool arguments and
/// structured answers that are still coming.
#[uniffi::export]
pub fn complete_json(text: &str) -> Option<String> {
    literllm::partial_json::parse(text).as_ref().map(Value::to_string)
}

fn read<T: serde::de::DeserializeOwned>(json: &str, what: &str) -> Result<T, NativeError> {
    serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, format!("this is no {what}: {error}")).into())
}

fn write(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a wire type is made of strings, numbers and JSON")
}
