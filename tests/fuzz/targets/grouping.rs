//! libFuzzer's way into [`grouping::run`].
#![no_main]

#[path = "../runs/grouping.rs"]
mod grouping;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| grouping::run(bytes));
