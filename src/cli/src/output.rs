//! Where words go: the answer to standard output, the conversation to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Number of the format of all answers in JSON; grows when a program made for the old one could
/// misread the new one.
const SCHEMA: u32 = 1;

/// An answer: one record, and how a person reads it.
pub(crate) trait Answered: Serialize {
    /// The record for a person, whole lines.
    fn text(&self) -> String;
}

/// Where words go.
pub(crate) struct Output<'a> {
    answer: &'a mut dyn Write,
    conversation: &'a mut dyn Write,
    json: bool,
}

#[derive(Serialize)]
struct Envelope<'a, R: Serialize> {
    schema: u32,
    #[serde(flatten)]
    record: &'a R,
}

impl<'a, R: Serialize> Envelope<'a, R> {
    fn of(record: &'a R) -> Self {
        let schema = SCHEMA;
        Self { schema, record }
    }
}

impl<'a> Output<'a> {
    /// Takes both ways out, and whether answers are JSON.
    pub(crate) fn new(
        answer: &'a mut dyn Write,
        conversation: &'a mut dyn Write,
        json: bool,
    ) -> Self {
        Self {
            answer,
            conversation,
            json,
        }
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Answers.
    ///
    /// # Errors
    /// Where the answer cannot be written; a reader that has gone away is no error.
    pub(crate) fn answer(&mut self, record: &impl Answered) -> Result<(), Failure> {
        let text = if self.json {
            json_text(record)?
        } else {
            record.text()
        };
        self.write(text.as_bytes()).map(|_| ())
    }

    /// Answers with one of many that come one after another: in JSON, each is a line. False: nobody
    /// reads any more.
    ///
    /// # Errors
    /// Where it cannot be written; a reader that has gone away is no error.
    pub(crate) fn answer_one_of_many(&mut self, record: &impl Answered) -> Result<bool, Failure> {
        let text = if self.json {
            json_line(record)?
        } else {
            record.text()
        };
        self.write(text.as_bytes())
    }

    /// Answers with text that has no record, as logs and help. False: nobody reads any more.
    ///
    /// # Errors
    /// Where it cannot be written; a reader that has gone away is no error.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        match self
            .answer
            .write_all(bytes)
            .and_then(|()| self.answer.flush())
        {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(
                Failure::could_not("OutputFailed", "cannot write the answer")
                    .because(error.to_string()),
            ),
        }
    }

    /// Says something beside the answer. Where nobody listens there is nobody to tell.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.conversation.write_all(text.as_bytes());
        let _ = self.conversation.flush();
    }

    /// Tells how something goes on; silent where a program listens.
    pub(crate) fn progress(&mut self, text: &str) {
        if !self.json {
            let line = format!("{}\n", crate::width::plain(text));
            self.say(&line);
        }
    }

    /// Tells a failure: to a person on standard error, to a program on both.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.json
            && let Ok(text) = json_text(&failure.record())
        {
            // The failure is what is told; a second one has no place.
            let _ = self.write(text.as_bytes());
        }
        self.say(&failure.text());
    }
}

/// The record in its envelope.
///
/// # Errors
/// Where it cannot be put into JSON, which no record comes to.
pub(crate) fn json_text(record: &impl Serialize) -> Result<String, Failure> {
    line(serde_json::to_string_pretty(&Envelope::of(record)))
}

/// The same on one line.
fn json_line(record: &impl Serialize) -> Result<String, Failure> {
    line(serde_json::to_string(&Envelope::of(record)))
}

fn line(text: serde_json::Result<String>) -> Result<String, Failure> {
    text.map(|text| text + "\n").map_err(|error| {
        Failure::could_not("OutputFailed", "cannot put the answer into JSON")
            .because(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_failure() {
        let mut conversation = Vec::new();
        let mut closed = Closed;
        let mut output = Output::new(&mut closed, &mut conversation, false);
        assert_eq!(output.write(b"x"), Ok(false));
        output.say("still heard\n");
        assert_eq!(conversation, b"still heard\n");
    }

    #[test]
    fn a_failure_in_json_stands_on_both_ways_out() {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        Output::new(&mut answer, &mut conversation, true)
            .fail(&Failure::could_not("X", "no").hint("do it"));
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "{\n  \"schema\": 1,\n  \"error\": {\n    \"name\": \"X\",\n    \"message\": \"no\",\n    \
             \"hint\": \"do it\"\n  }\n}\n"
        );
        assert_eq!(conversation, b"vfioctl: no\n  try: do it\n");
    }
}
