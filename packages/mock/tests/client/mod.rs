//! The HTTP client of these tests.

use std::sync::Once;

use futures_util::StreamExt;
use reqwest::{Client, Response};

pub fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("no other provider is installed");
    });
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("the options are sound")
}

/// What arrives before the body ends or breaks, and whether it broke.
pub async fn received(response: Response) -> (String, bool) {
    let (bytes, broken) = received_bytes(response).await;
    (String::from_utf8_lossy(&bytes).into_owned(), broken)
}

/// The same, for bodies that are not text.
pub async fn received_bytes(response: Response) -> (Vec<u8>, bool) {
    let mut stream = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else {
            return (bytes, true);
        };
        bytes.extend_from_slice(&piece);
    }
    (bytes, false)
}
