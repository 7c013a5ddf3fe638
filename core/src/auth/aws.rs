//! AWS credentials and the SigV4 signature.

use std::time::SystemTime;

use super::{Credential, Secret, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Outgoing;

#[allow(clippy::unused_async)]
pub(super) async fn credential(_source: &Source<'_>) -> Result<Credential> {
    Err(Error::new(ErrorKind::Authentication, "no AWS credentials were found"))
}

pub(super) fn sign(outgoing: &mut Outgoing, _secret: &Secret, region: &str, service: &str, _now: SystemTime) -> Result<()> {
    Err(Error::new(ErrorKind::Authentication, format!("{} cannot be signed for {service} in {region}", outgoing.url)))
}
