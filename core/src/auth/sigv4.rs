//! AWS's Signature Version 4, as its general reference has it. No I/O, and the time is given.
//!
//! A signer of its own, on the hashes that rustls brings: AWS's crates would bring another HTTP client, runtime and set of types along for
//! what is one page here, and its published cases tell whether the page is right.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};
use crate::providers::percent_encoded;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The headers of a request that are signed, in their order; the host is the first but for the content type.
const SIGNED: [&str; 3] = ["content-type", "x-amz-date", "x-amz-security-token"];

/// Whose signature it is, and what for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a SecretString,
    pub session_token: Option<&'a SecretString>,
    pub region: &'a str,
    pub service: &'a str,
    /// Such as `20150830T123600Z`.
    pub time: &'a str,
}

impl Signer<'_> {
    /// Puts the time, the session and the signature on a request.
    pub(super) fn sign(&self, method: &str, url: &str, headers: &mut HeaderMap, body: &[u8]) -> Result<()> {
        headers.insert("x-amz-date", header(self.time)?);
        if let Some(token) = self.session_token {
            let mut token = header(token.expose_secret())?;
            token.set_sensitive(true);
            headers.insert("x-amz-security-token", token);
        }
        let authorization = self.authorization(method, url, headers, body)?;
        headers.insert(AUTHORIZATION, header(&authorization)?);
        Ok(())
    }

    fn authorization(&self, method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> Result<String> {
        let uri: Uri = url.parse().map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, "the address makes no URL that can be signed; check the base URL")
        })?;
        let mut signed = vec![("host", host(&uri))];
        for name in SIGNED {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                signed.push((name, value.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
        signed.sort_by_key(|(name, _)| *name);
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect::<Vec<_>>().concat();
        // The path is escaped once more than it is sent, each segment by itself.
        let path = uri.path().split('/').map(percent_encoded).collect::<Vec<_>>().join("/");
        let mut query: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let request = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{}", query.join("&"), hex(hash(body).as_ref()));

        let date = self.time.split('T').next().unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.time, hex(hash(request.as_bytes()).as_ref()));
        let signature = hex(hmac(self.key(date).as_ref(), &to_sign).as_ref());
        Ok(format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.access_key_id))
    }

    /// The key of this day, region and service.
    fn key(&self, date: &str) -> hmac::Tag {
        let secret = SecretString::from(format!("AWS4{}", self.secret_access_key.expose_secret()));
        [self.region, self.service, "aws4_request"]
            .into_iter()
            .fold(hmac(secret.expose_secret().as_bytes(), date), |key, part| hmac(key.as_ref(), part))
    }
}

/// The host as it is sent: without a port that its scheme implies.
fn host(uri: &Uri) -> String {
    let name = uri.host().unwrap_or_default().to_ascii_lowercase();
    let implied = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    match uri.port_u16().filter(|port| *port != implied) {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

fn header(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text.trim()).map_err(|_| {
        Error::new(
            ErrorKind::Authentication,
            "the AWS credentials hold characters that no HTTP header can carry; copy them again",
        )
    })
}

fn hash(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hmac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::CONTENT_TYPE;

    use super::*;

    const TIME: &str = "20150830T123600Z";

    /// The signature that the published suite's credentials give.
    fn signature(method: &str, url: &str, headers: &[(&'static str, &str)], body: &str, token: Option<&str>) -> String {
        let secret = SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let token = token.map(SecretString::from);
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: &secret,
            session_token: token.as_ref(),
            region: "us-east-1",
            service: "service",
            time: TIME,
        };
        let mut map: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a header"))).collect();
        signer.sign(method, url, &mut map, body.as_bytes()).expect("it can be signed");
        let authorization = map[AUTHORIZATION].to_str().expect("text");
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert!(authorization.starts_with(scope), "{authorization}");
        authorization.rsplit_once('=').expect("a signature").1.to_owned()
    }

    /// Cases of AWS's published test suite, by their names there.
    #[test]
    fn the_published_cases_give_their_signatures() {
        let form = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        for (name, method, path, headers, body, token, should) in [
            ("get-vanilla", "GET", "/", &[][..], "", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("post-vanilla", "POST", "/", &[], "", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("get-utf8", "GET", "/\u{1234}", &[], "", None, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                &form,
                "Param1=value1",
                None,
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-sts-header-before",
                "POST",
                "/",
                &[],
                "",
                Some(token),
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let url = format!("https://example.amazonaws.com{path}");
            assert_eq!(signature(method, &url, headers, body, token), should, "{name}");
        }
    }

    /// The example of the general reference.
    #[test]
    fn a_key_is_of_its_day_region_and_service() {
        let secret = SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let (region, service) = ("us-east-1", "iam");
        let signer = Signer { access_key_id: "", secret_access_key: &secret, session_token: None, region, service, time: TIME };
        assert_eq!(hex(signer.key("20150830").as_ref()), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn ports_are_signed_as_they_are_sent() {
        let of = |url: &str| host(&url.parse().expect("a URL"));
        assert_eq!(of("https://Example.com:443/"), "example.com");
        assert_eq!(of("http://127.0.0.1:8080/"), "127.0.0.1:8080");
        assert_eq!(of("http://example.com:443/"), "example.com:443");
    }
}
