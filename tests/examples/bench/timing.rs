//! Times: medians of several, because one alone says little on a machine that others use too.

use std::collections::BTreeMap;

use crate::Result;

/// Rounds of everything that is compared.
pub(crate) const ROUNDS: usize = 7;

/// For scripts of the lab. `timed NAME COMMAND` prints the name and the microseconds that the
/// command took; nothing is forked for it. `quietly` is for functions and for commands.
pub(crate) const PRELUDE: &str = "
    export LC_ALL=C
    timed() {
        local name=$1 start end
        shift
        start=${EPOCHREALTIME/./}
        \"$@\" >/dev/null 2>/tmp/stderr || { echo \"'$*' failed: $(</tmp/stderr)\"; exit 1; }
        end=${EPOCHREALTIME/./}
        echo \"$name $((end - start))\"
    }
";

/// Microseconds by name.
#[derive(Debug, Default)]
pub(crate) struct Times(BTreeMap<String, Vec<f64>>);

impl Times {
    /// Reads lines of a name and a number; others are taken for noise.
    pub(crate) fn parse(text: &str) -> Self {
        let mut times = Self::default();
        for line in text.lines() {
            if let Some((name, Ok(number))) = line
                .split_once(' ')
                .map(|(name, number)| (name, number.trim().parse()))
            {
                times.add(name, number);
            }
        }
        times
    }

    pub(crate) fn add(&mut self, name: &str, microseconds: f64) {
        self.0
            .entry(name.to_owned())
            .or_default()
            .push(microseconds);
    }

    /// The median in milliseconds.
    pub(crate) fn ms(&self, name: &str) -> Result<f64> {
        let mut sorted = self
            .0
            .get(name)
            .ok_or_else(|| format!("nothing was measured of '{name}'"))?
            .clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get(sorted.len() / 2)
            .map(|median| median / 1000.0)
            .ok_or_else(|| format!("nothing was measured of '{name}'"))
    }
}
