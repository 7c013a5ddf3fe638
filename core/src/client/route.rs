//! Where a model is asked: its provider, the address there, and the key that belongs to it.

use std::sync::{Arc, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use super::Client;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::catalog::{self, Host};
use crate::providers::{self, Provider, Target};
use crate::resilience::course::mark_prefill;
use crate::resilience::keys::KeyPool;
use crate::transport::without_login;
use crate::types::{ChatCompletionRequest, Str};

/// Where a model is asked: its provider's dialect, and the target.
#[derive(Clone)]
pub(super) struct Route {
    pub provider: &'static dyn Provider,
    pub target: Arc<Target>,
    /// Where the provider has several keys.
    pub keys: Option<Arc<KeyPool>>,
}

impl Client {
    /// Finds the provider of a model, its address and its key, and remembers them: variables count as they stood when a model was first
    /// asked.
    pub(super) fn route(&self, model: &str) -> Result<Route> {
        const MOST: usize = 256;
        let routes = || self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes().get(model) {
            return Ok(route.clone());
        }
        let route = self.find_route(model)?;
        let mut routes = routes();
        if routes.len() >= MOST {
            routes.clear();
        }
        routes.insert(model.to_owned(), route.clone());
        Ok(route)
    }

    fn find_route(&self, model: &str) -> Result<Route> {
        let config = &self.0.config;
        let (host, model) = self.host_of(model)?;
        let owner = self.0.owner.get_or_init(|| host.name.clone());
        let is_owner = *owner == host.name;
        let provider = providers::dialect(&host.name).unwrap_or_else(providers::openai_dialect);
        let names = || host.names();

        let given_url = names()
            .find_map(|name| config.base_urls.get(&**name))
            .or(config.base_url.as_ref().filter(|_| is_owner))
            .cloned()
            .or_else(|| variable(&host.base_url_vars).map(|url| with_scheme(url, host.local)));
        let is_default_url = given_url.is_none();
        let base_url = match given_url {
            Some(url) => check_base_url(&url)?,
            None => fill_in(&host)?,
        };

        let keys = names().find_map(|name| self.0.key_pools.get(&**name)).cloned();
        let given_key = keys
            .as_ref()
            .and_then(|pool| pool.keys().first())
            .or_else(|| names().find_map(|name| config.api_keys.get(&**name)))
            .or(config.api_key.as_ref().filter(|_| is_owner))
            .filter(|key| !key.expose_secret().trim().is_empty())
            .cloned();
        let has_tokens = names().any(|name| config.token_providers.contains_key(&**name));
        // What the program says goes before what its surroundings say.
        let key = given_key.or_else(|| variable(&host.key_vars).filter(|_| !has_tokens).map(SecretString::from));
        let needs_key =
            is_default_url && !host.local && !host.key_vars.is_empty() && !has_tokens && !provider.takes_credentials();
        match &key {
            Some(key) if is_default_url => {
                check_owner(key, &host)?;
                keys.iter().flat_map(|pool| pool.keys()).try_for_each(|key| check_owner(key, &host))?;
            }
            None if needs_key => return Err(missing_key(&host, &model)),
            _ => {}
        }
        let settings = providers::settings(&host.name)
            .iter()
            .filter_map(|(name, variables)| {
                let given = names().find_map(|provider| config.settings.get(&**provider)?.get(*name)).cloned();
                Some((*name, given.or_else(|| variable(variables).map(SecretString::from))?))
            })
            .collect();
        let mut host = host;
        if !is_default_url && host.name == "openai" {
            // Servers that stand in for OpenAI may be older than the newer of the two names.
            host.quirks.max_tokens_field = None;
        }
        let target = Target { host, model: model.into(), base_url, key, is_default_url, has_tokens, settings };
        Ok(Route { provider, target: Arc::new(target), keys })
    }

    /// Provider and model as they are called where they are asked; of a model that cannot be asked, as it was given.
    pub(crate) fn names_of(&self, asked: &str) -> (Str, Str) {
        match self.host_of(asked) {
            Ok((host, model)) => (host.name, model.into()),
            Err(_) => asked.split_once('/').map_or((Str::default(), asked.into()), |(host, model)| (host.into(), model.into())),
        }
    }

    /// The host and the model's name there, of `provider/model` or of a bare name.
    pub(super) fn host_of(&self, asked: &str) -> Result<(Host, String)> {
        let config = &self.0.config;
        if let Some((prefix, model)) = asked.split_once('/')
            && let Some(host) = find_host(config, prefix)
        {
            if model.is_empty() {
                return Err(Error::new(ErrorKind::InvalidRequest, format!("`{asked}` names no model; write provider/model")));
            }
            return Ok((host.clone(), model.to_owned()));
        }
        if let Some(provider) = &config.provider {
            let host = find_host(config, provider).cloned().unwrap_or_else(|| uncatalogued(provider));
            return Ok((host, asked.to_owned()));
        }
        if let Some(host) = providers::family(asked).and_then(|family| find_host(config, family)) {
            return Ok((host.clone(), asked.to_owned()));
        }
        if config.base_url.is_some() {
            return Ok((uncatalogued("custom"), asked.to_owned()));
        }
        Err(unknown_provider(asked.split_once('/').map_or(asked, |(prefix, _)| prefix)))
    }

    /// A name for a model at its address, the same for every client of the process.
    pub(crate) fn route_name(&self, model: &str) -> String {
        match self.route(model) {
            Ok(route) => format!("{}/{} at {}", route.target.host.name, route.target.model, route.target.base_url),
            Err(_) => model.to_owned(),
        }
    }

    /// Whether a model goes on from the beginning of its own message.
    pub(crate) fn takes_prefill(&self, model: &str) -> bool {
        self.host_of(model).is_ok_and(|(host, model)| {
            let by_model = providers::models::find(&host.name, &model).is_some_and(|row| row.prefill);
            by_model || host.quirks.prefill && host.quirks.prefill_base_url.is_none()
        })
    }

    pub(crate) fn mark_prefill(&self, model: &str, request: &mut ChatCompletionRequest) {
        if let Ok((host, _)) = self.host_of(model) {
            mark_prefill(request, host.quirks.prefill_mark.as_deref(), &host.quirks.prefill_fields);
        }
    }
}

pub(super) fn find_host<'a>(config: &'a ClientConfig, name: &str) -> Option<&'a Host> {
    config
        .hosts
        .iter()
        .find(|host| host.name == *name || host.aliases.iter().any(|alias| *alias == *name))
        .or_else(|| providers::find(name))
}

/// A host that is known by its base URL alone.
fn uncatalogued(name: &str) -> Host {
    Host {
        name: name.into(),
        aliases: Vec::new(),
        base_url: String::new(),
        key_vars: Vec::new(),
        base_url_vars: Vec::new(),
        key_prefixes: Vec::new(),
        quirks: catalog::Quirks::default(),
        local: false,
        source: String::new(),
    }
}

/// The first variable that is set and not empty.
fn variable<S: AsRef<str>>(names: &[S]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name.as_ref()).ok().filter(|value| !value.trim().is_empty()))
}

/// The host's own base URL, with the variables in it filled in.
fn fill_in(host: &Host) -> Result<String> {
    let mut url = host.base_url.clone();
    while let Some(start) = url.find('{') {
        let Some(length) = url[start..].find('}') else { break };
        let name = url[start + 1..start + length].to_owned();
        let value = std::env::var(&name).ok().filter(|value| !value.trim().is_empty()).ok_or_else(|| {
            let message = format!("the address of {} needs the variable {name}; set it, or give a base URL", host.name);
            Error::new(ErrorKind::InvalidRequest, message).with_route(&host.name, &Str::default())
        })?;
        // A whole address may stand where only its host is wanted.
        let value = value.trim().trim_start_matches("https://").trim_end_matches('/');
        url.replace_range(start..=start + length, value);
    }
    check_base_url(&url)
}

/// An address without a scheme, as some variables hold it, is one of this machine or of the web.
fn with_scheme(url: String, local: bool) -> String {
    if url.contains("://") {
        return url;
    }
    format!("{}://{url}", if local { "http" } else { "https" })
}

/// The base URL without slashes at its end, if it is one.
pub(super) fn check_base_url(url: &str) -> Result<String> {
    let trimmed = url.trim().trim_end_matches('/');
    let parsed = trimmed.parse::<http::Uri>().ok();
    let is_good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if is_good {
        return Ok(trimmed.to_owned());
    }
    let message = format!("`{}` is no base URL; write it as https://host/path, without a query", without_login(url));
    Err(Error::new(ErrorKind::InvalidRequest, message))
}

fn check_owner(key: &SecretString, host: &Host) -> Result<()> {
    match catalog::owner_of_key(key.expose_secret().trim()) {
        Some(owner)
            if owner != &*host.name
                && !host.key_prefixes.iter().any(|prefix| key.expose_secret().starts_with(prefix.as_str())) =>
        {
            let message =
                format!("this key looks like one of {owner}, and is not sent to {}; check which key was set", host.name);
            Err(Error::new(ErrorKind::Authentication, message).with_route(&host.name, &Str::default()))
        }
        _ => Ok(()),
    }
}

fn missing_key(host: &Host, model: &str) -> Error {
    let variables = host.key_vars.join(" or ");
    let message = format!("no API key; set {variables}, or give the client `api_key`");
    Error::new(ErrorKind::Authentication, message).with_route(&host.name, &model.into())
}

pub(super) fn unknown_provider(name: &str) -> Error {
    let message = format!(
        "`{name}` is no provider that is known; write provider/model such as openai/gpt-4o (`literllm providers` lists them), or give a base URL"
    );
    Error::new(ErrorKind::InvalidRequest, message)
}
