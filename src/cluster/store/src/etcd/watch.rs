//! Watching etcd: its events, put together to the changes of whole revisions.

use etcd_client::proto::PbEvent;
use etcd_client::{WatchResponse, WatchStream};

use super::{Names, failure};
use crate::limits::SLOW_TIME;
use crate::watch::Watcher;
use crate::{Batch, Error, ErrorKind, Result, WatchedChange};

/// `PbEvent::type`, by mvccpb/kv.proto.
const PUT: i32 = 0;
const DELETE: i32 = 1;

/// Passes on what etcd tells, until nobody listens or etcd does not tell any more.
pub(super) async fn pass_on(mut stream: WatchStream, names: Names, watcher: Watcher) {
    let mut events = Events::new(names);
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = watcher.deserted() => return,
        };
        let mut whole = Vec::new();
        let taken = match message {
            Ok(Some(response)) => events.take(response, &mut whole),
            Ok(None) => Err(ended("etcd has ended the watch")),
            Err(error) => Err(failure::of_read(error)),
        };
        for batch in whole {
            if !watcher.tell_within(SLOW_TIME, batch).await {
                return;
            }
        }
        if let Err(error) = taken {
            return watcher.end(error);
        }
    }
}

/// Refuses the first answer where it is not that the watch is there.
pub(super) fn check_created(first: Option<&WatchResponse>) -> Result<()> {
    match first {
        Some(response) if response.created() => check_not_canceled(response),
        _ => Err(ended("etcd did not make the watch")),
    }
}

fn check_not_canceled(response: &WatchResponse) -> Result<()> {
    if !response.canceled() {
        return Ok(());
    }
    if response.compact_revision() > 0 {
        let what = format!(
            "changes up to {} are no longer known",
            response.compact_revision()
        );
        return Err(Error::new(ErrorKind::Compacted, what));
    }
    let reason = response.cancel_reason();
    let kind = match reason.contains("permission denied") {
        true => ErrorKind::Refused,
        false => ErrorKind::Unavailable,
    };
    Err(Error::new(
        kind,
        format!("etcd has ended the watch: {reason}"),
    ))
}

fn ended(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

/// Events, as they come.
struct Events {
    names: Names,
    /// Changes of the last revision, of which there may be more to come.
    open: Option<Batch>,
}

impl Events {
    fn new(names: Names) -> Self {
        Self { names, open: None }
    }

    /// Adds the revisions of which all changes are there; also those before an error.
    fn take(&mut self, response: WatchResponse, whole: &mut Vec<Batch>) -> Result<()> {
        check_not_canceled(&response)?;
        let is_more_to_come = response.0.fragment;
        for event in response.0.events {
            let revision = super::revision(event.kv.as_ref().map_or(0, |row| row.mod_revision))?;
            if self
                .open
                .as_ref()
                .is_some_and(|open| open.revision != revision)
            {
                self.close(whole);
            }
            let change = self.change(event)?;
            let open = self.open.get_or_insert_with(|| Batch {
                revision,
                changes: Vec::new(),
            });
            open.changes.push(change);
        }
        // Only a message that is one of several may end within a revision.
        if !is_more_to_come {
            self.close(whole);
        }
        Ok(())
    }

    fn close(&mut self, whole: &mut Vec<Batch>) {
        if let Some(mut batch) = self.open.take() {
            batch
                .changes
                .sort_by(|one, other| one.key().cmp(other.key()));
            whole.push(batch);
        }
    }

    fn change(&self, event: PbEvent) -> Result<WatchedChange> {
        let kind = event.r#type;
        match (kind, event.kv) {
            (PUT, Some(row)) => Ok(WatchedChange::Put(self.names.entry(row)?)),
            (DELETE, Some(row)) => Ok(WatchedChange::Deleted(self.names.key(&row.key)?)),
            _ => Err(ended("etcd told of a change of a kind that is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbKeyValue, PbWatchResponse};

    use super::*;

    fn event(kind: i32, key: &str, mod_revision: i64) -> PbEvent {
        PbEvent {
            r#type: kind,
            kv: Some(PbKeyValue {
                key: format!("p/{key}").into_bytes(),
                mod_revision,
                ..PbKeyValue::default()
            }),
            prev_kv: None,
        }
    }

    fn take(events: &mut Events, list: Vec<PbEvent>, fragment: bool) -> (Vec<String>, bool) {
        let response = WatchResponse(PbWatchResponse {
            events: list,
            fragment,
            ..PbWatchResponse::default()
        });
        let mut whole = Vec::new();
        let taken = events.take(response, &mut whole);
        assert!(
            taken
                .as_ref()
                .err()
                .is_none_or(|error| error.kind() == ErrorKind::Damaged)
        );
        let texts = whole.iter().map(|batch| {
            let keys: Vec<_> = batch
                .changes
                .iter()
                .map(|change| change.key().as_str())
                .collect();
            format!("{}: {}", batch.revision, keys.join(" "))
        });
        (texts.collect(), taken.is_ok())
    }

    fn told(texts: &[&str]) -> (Vec<String>, bool) {
        (texts.iter().map(|text| (*text).to_owned()).collect(), true)
    }

    #[test]
    fn a_revision_is_told_when_all_of_it_is_there() {
        let mut events = Events::new(Names::new("p/"));
        let first = vec![
            event(PUT, "b", 3),
            event(DELETE, "a", 3),
            event(PUT, "a", 4),
        ];
        assert_eq!(take(&mut events, first, true), told(&["3: a b"]));
        let second = vec![event(PUT, "b", 4)];
        assert_eq!(take(&mut events, second, true), told(&[]));
        let third = vec![event(PUT, "c", 4), event(PUT, "c", 5)];
        assert_eq!(take(&mut events, third, false), told(&["4: a b c", "5: c"]));
    }

    #[test]
    fn what_is_not_ours_is_damage_after_what_was_ours() {
        for key in ["", "a//b", "a\n"] {
            let mut events = Events::new(Names::new("p/"));
            let both = vec![event(PUT, "a", 3), event(PUT, key, 4)];
            let expected = (told(&["3: a"]).0, false);
            assert_eq!(take(&mut events, both, false), expected, "{key:?}");
        }
        assert!(Names::new("p/").key(b"q/a").is_err());
        assert!(Names::new("p/").key(b"p/\xff").is_err());
    }
}
