//! Numbers that drivers tell, and names that end with one.

use crate::Root;

/// The number in an attribute of a driver's. Drivers answer with errors of many kinds for what a model
/// does not have, or while it is being reset, so what cannot be read is absent here.
pub(crate) fn read_number<T: std::str::FromStr>(dir: &Root, path: &str) -> Option<T> {
    dir.read_attribute(path).ok().flatten()?.parse().ok()
}

/// Folders in a folder whose names are a prefix and a number.
pub(crate) fn list_numbered(dir: &Root, folder: &str, prefix: &str) -> Vec<String> {
    let names = dir.list(folder).ok().flatten().unwrap_or_default();
    numbered(&names, prefix)
}

/// Those of the names that are a prefix and a number, in the order of their numbers: `card2`, `card10`.
pub(crate) fn numbered(names: &[String], prefix: &str) -> Vec<String> {
    let number = |name: &String| {
        let digits = name.strip_prefix(prefix)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_number)
    };
    let is_numbered = |name: &&String| number(name).is_some();
    let mut numbered: Vec<String> = names.iter().filter(is_numbered).cloned().collect();
    numbered.sort_by_key(number);
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_their_numbers() {
        let names = ["gt10", "gt", "gt2", "gt+1", "gtidle", "gt0x", "at1"].map(str::to_owned);
        assert_eq!(numbered(&names, "gt"), ["gt2", "gt10"]);
    }
}
