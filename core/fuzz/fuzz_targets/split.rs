//! Whatever the bytes and however they are split, a decoder neither panics nor says another thing.

use literllm::decode::{Decoder, EventKind, Framing, TooLarge};

const CAP: usize = 4096;

type Said = (Vec<(EventKind, String, String)>, Option<TooLarge>);

/// The input's first byte says where it is split.
pub fn same_however_split(framing: Framing, input: &[u8]) {
    let Some((&every, bytes)) = input.split_first() else { return };
    let whole = decode(framing, bytes, bytes.len());
    let split = decode(framing, bytes, usize::from(every));
    // What is too large may be met earlier in one way than in the other.
    if whole.1.is_none() && split.1.is_none() {
        assert_eq!(whole.0, split.0);
    }
}

fn decode(framing: Framing, bytes: &[u8], every: usize) -> Said {
    let mut said = Vec::new();
    let mut decoder = Decoder::new(framing, CAP);
    let mut on_event = |event: literllm::decode::Event<'_>| {
        said.push((event.kind, event.name.to_owned(), event.data.into_owned()));
        Ok::<_, TooLarge>(())
    };
    let mut result = Ok(());
    for piece in bytes.chunks(every.max(1)) {
        result = result.and_then(|()| decoder.decode(piece, &mut on_event));
    }
    result = result.and_then(|()| decoder.finish(&mut on_event));
    (said, result.err())
}
