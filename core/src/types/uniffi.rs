//! How the types that are no records cross to Kotlin and Swift: open sets as strings, free JSON as its text.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use uniffi::deps::anyhow;

use super::{Extra, FinishReason, Models, Role, Stop, Str};
use crate::auth::TokenProvider;
use crate::providers::catalog::Host;

/// Any JSON value, as its text.
type JsonText = Value;
/// A JSON object, as its text.
type JsonObjectText = Map<String, Value>;
/// A number of bytes or of things.
type Size = usize;
/// What a configuration says of a source of tokens: nothing. The name `TokenProvider` is the languages' own.
type NoTokenProvider = TokenProvider;
/// A key. It crosses inwards only.
type Secret = SecretString;

uniffi::custom_type!(Str, String);
uniffi::custom_type!(Role, String);
uniffi::custom_type!(FinishReason, String);

uniffi::custom_type!(Size, u64, {
    remote,
    lower: |size| size as u64,
    try_lift: |size| Ok(usize::try_from(size)?),
});

uniffi::custom_type!(JsonText, String, {
    remote,
    lower: |value| value.to_string(),
    try_lift: |text| parse(&text),
});

uniffi::custom_type!(JsonObjectText, String, {
    remote,
    lower: |fields| Value::Object(fields).to_string(),
    try_lift: |text| parse(&text),
});

// Empty text where there is nothing: three of these are in every chunk.
uniffi::custom_type!(Extra, String, {
    lower: |extra| if extra.is_empty() { String::new() } else { Value::Object(extra.iter().map(|(name, value)| (name.clone(), value.clone())).collect()).to_string() },
    try_lift: |text| if text.is_empty() { Ok(Extra::default()) } else { parse::<JsonObjectText>(&text).map(Extra::from) },
});

// One model is its name, a list of them is a JSON list of names, also where it has one.
uniffi::custom_type!(Models, String, {
    lower: |models| if models.is_list() { serde_json::json!(models.all()).to_string() } else { models.first().to_owned() },
    try_lift: |text| if text.starts_with('[') { parse::<Vec<String>>(&text).map(Models::from) } else { Ok(Models::from(text)) },
});

uniffi::custom_type!(Stop, Vec<String>, {
    lower: |stop| stop.0,
    try_lift: |list| Ok(Stop(list)),
});

uniffi::custom_type!(Secret, String, {
    remote,
    lower: |key| key.expose_secret().to_owned(),
    try_lift: |text| Ok(SecretString::from(text)),
});

// Sources of tokens are given to a client where it is made: of them a configuration has only the names of the providers.
uniffi::custom_type!(NoTokenProvider, String, {
    lower: |_provider| String::new(),
    try_lift: |text| if text.is_empty() { Ok(NoTokenProvider::unknown()) } else { Err(anyhow::anyhow!("a source of tokens is no text; give it to the client where it is made")) },
});

// A host is described by JSON, as in the catalogue.
uniffi::custom_type!(Host, String, {
    lower: |host| serde_json::to_string(&host).expect("a host is made of strings and flags"),
    try_lift: |text| parse(&text),
});

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).map_err(|error| anyhow::anyhow!("this is not the JSON that is expected here: {error}"))
}
