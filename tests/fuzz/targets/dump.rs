//! libFuzzer's way into [`dump::run`].
#![no_main]

#[path = "../runs/dump.rs"]
mod dump;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dump::run(bytes));
