//! libFuzzer's way into [`config_space::run`].
#![no_main]

#[path = "../runs/config_space.rs"]
mod config_space;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config_space::run(bytes));
