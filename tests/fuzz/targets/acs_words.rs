//! libFuzzer's way into [`acs_words::run`].
#![no_main]

#[path = "../runs/acs_words.rs"]
mod acs_words;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| acs_words::run(bytes));
