//! Refusals that call people by name.
//!
//! What is decided here knows users by number only. Whoever can look names up puts them in before
//! people read the sentence.

use super::Refusal;

impl Refusal {
    /// The sentence, with who stands in the way called as given.
    pub fn sentence_calling(&self, owner: &str) -> String {
        self.put_name(&self.to_string(), owner)
    }

    /// What a person can do about it, with who stands in the way called as given.
    pub fn hint_calling(&self, owner: &str) -> String {
        self.put_name(&self.hint(), owner)
    }

    fn put_name(&self, text: &str, name: &str) -> String {
        match self.owner() {
            Some(owner) => text.replace(&owner.to_string(), name),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Owner, Purpose};

    #[test]
    fn who_stands_in_the_way_is_called_by_name_in_sentence_and_hint() {
        let owner = Owner {
            uid: 1001,
            purpose: Purpose::Machine("win".parse().unwrap()),
        };
        let refusal = Refusal::Claimed {
            address: "0000:01:00.0".parse().unwrap(),
            owner: owner.clone(),
        };
        let name = owner.described(Some("bob"));
        assert_eq!(
            refusal.sentence_calling(&name),
            "0000:01:00.0 belongs to machine 'win' of user 'bob'"
        );
        assert_eq!(
            refusal.hint_calling(&name),
            "ask machine 'win' of user 'bob' to release it, or choose another device"
        );
        // Without a name the number stays.
        let name = owner.described(None);
        assert_eq!(refusal.sentence_calling(&name), refusal.to_string());
    }
}
