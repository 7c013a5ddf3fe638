//! AWS's binary event stream: lengths and two CRCs around headers and a payload.

use crate::reply::Frames;

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

const PRELUDE: usize = 12;

/// A modelled event with a JSON payload.
pub(super) fn event(name: &str, out: &mut Frames, payload: impl FnOnce(&mut Vec<u8>)) {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    message(&headers, out, payload);
}

pub(super) fn message(headers: &[(&str, &str)], out: &mut Frames, payload: impl FnOnce(&mut Vec<u8>)) {
    let bytes = &mut out.bytes;
    let start = bytes.len();
    bytes.extend_from_slice(&[0; PRELUDE]);
    for (name, value) in headers {
        bytes.push(u8::try_from(name.len()).expect("header names are a few bytes long"));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(7);
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&value.as_bytes()[..length.into()]);
    }
    let headers_length = bytes.len() - start - PRELUDE;
    payload(bytes);
    let total = bytes.len() - start + 4;
    let word = |length: usize| u32::try_from(length).expect("a message is far below 4 GiB").to_be_bytes();
    bytes[start..start + 4].copy_from_slice(&word(total));
    bytes[start + 4..start + 8].copy_from_slice(&word(headers_length));
    let prelude_crc = crc32fast::hash(&bytes[start..start + 8]);
    bytes[start + 8..start + PRELUDE].copy_from_slice(&prelude_crc.to_be_bytes());
    let crc = crc32fast::hash(&bytes[start..]);
    bytes.extend_from_slice(&crc.to_be_bytes());
    out.end_frame();
}

/// Flips a bit of the payload, so that the message's CRC no longer fits.
pub(super) fn corrupt(frame: &mut [u8]) {
    let at = frame.len() - 5;
    frame[at] ^= 1;
}
