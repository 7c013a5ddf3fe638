#![no_main]

mod split;

use libfuzzer_sys::fuzz_target;
use literllm::decode::Framing;

fuzz_target!(|input: &[u8]| split::same_however_split(Framing::Sse, input));
