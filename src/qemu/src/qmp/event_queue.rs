//! Events that have come while nobody asked for them.

use std::collections::VecDeque;

use super::codec::Event;
use crate::limits::{QMP_EVENT_BYTES, QMP_EVENTS};

/// A queue that drops its oldest events when it is full: of a flood, the end tells most.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    /// Events with the lengths of their lines.
    events: VecDeque<(Event, usize)>,
    len_bytes: usize,
    dropped: u64,
}

impl EventQueue {
    pub(super) fn push(&mut self, event: Event, len_bytes: usize) {
        self.events.push_back((event, len_bytes));
        self.len_bytes = self.len_bytes.saturating_add(len_bytes);
        while self.events.len() > QMP_EVENTS || self.len_bytes > QMP_EVENT_BYTES {
            if self.pop().is_none() {
                break;
            }
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let (event, len_bytes) = self.events.pop_front()?;
        self.len_bytes = self.len_bytes.saturating_sub(len_bytes);
        Some(event)
    }

    /// How many events have been dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(name: usize) -> Event {
        Event {
            name: name.to_string(),
            data: Value::Null,
            at: None,
        }
    }

    #[test]
    fn the_oldest_of_too_many_are_dropped_and_counted() {
        let mut queue = EventQueue::default();
        for name in 0..QMP_EVENTS + 3 {
            queue.push(event(name), 1);
        }
        assert_eq!((queue.dropped(), queue.pop()), (3, Some(event(3))));
    }

    #[test]
    fn large_events_push_others_out() {
        let mut queue = EventQueue::default();
        queue.push(event(0), 1);
        queue.push(event(1), QMP_EVENT_BYTES);
        assert_eq!((queue.dropped(), queue.pop()), (1, Some(event(1))));
        queue.push(event(2), QMP_EVENT_BYTES + 1);
        assert_eq!((queue.dropped(), queue.pop()), (2, None));
    }
}
