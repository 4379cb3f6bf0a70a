use std::path::Path;

use serde_json::json;

use super::*;
use crate::fake_host::{
    FakeHost, Reply, authority_fingerprint, authority_pem, certificate, certificate_by,
    make_issuer, ok, problem,
};

/// Somebody with these answers.
struct Fake<'f> {
    is_there: bool,
    line: &'f str,
    secret: &'f str,
}

impl Person for Fake<'_> {
    fn is_there(&self) -> bool {
        self.is_there
    }

    fn line(&mut self) -> io::Result<String> {
        Ok(self.line.to_owned())
    }

    fn secret(&mut self) -> io::Result<Option<String>> {
        Ok(Some(self.secret.to_owned()))
    }
}

fn me() -> Reply {
    ok(json!({"user": "ann", "role": "admin"}))
}

fn authority() -> Reply {
    Reply::Bytes(authority_pem().into_bytes(), false)
}

fn arguments(host: &FakeHost) -> Login {
    Login {
        host: host.url().parse().unwrap(),
        authority: None,
        fingerprint: None,
        token_file: None,
        cluster: None,
    }
}

struct Came {
    verdict: Verdict,
    answer: String,
    conversation: String,
    name: Option<String>,
}

fn came_of(arguments: &Login, home: &Path, mut person: Fake<'_>) -> Came {
    let (mut answer, mut conversation) = (Vec::new(), Vec::new());
    let mut output = Output::new(&mut answer, &mut conversation, false);
    let done = log_in(arguments, &Places::below(home), &mut person, &mut output);
    let name = done.as_ref().err().map(|failure| failure.name().to_owned());
    let verdict = done.unwrap_or_else(|failure| {
        output.fail(&failure);
        failure.verdict()
    });
    Came {
        verdict,
        answer: String::from_utf8(answer).unwrap(),
        conversation: String::from_utf8(conversation).unwrap(),
        name,
    }
}

fn yes() -> Fake<'static> {
    Fake {
        is_there: true,
        line: "yes\n",
        secret: "vfioctl_0a_mine",
    }
}

#[test]
fn a_stranger_is_shown_by_fingerprint_and_remembered() {
    let home = tempfile::tempdir().unwrap();
    let host = FakeHost::start(vec![authority(), me(), me()]);
    let arguments = arguments(&host);
    let came = came_of(&arguments, home.path(), yes());
    let fingerprint = authority_fingerprint();
    assert_eq!(came.verdict, Verdict::Yes, "{}", came.conversation);
    assert!(
        came.conversation.contains(&format!("\n  {fingerprint}\n")),
        "{}",
        came.conversation
    );
    let file = home.path().join(".config/vfioctl/cluster.json");
    assert_eq!(
        came.answer,
        format!(
            "host       {}\nauthority  {fingerprint}\nuser       ann\nrole       admin\nknown by   {}\n",
            host.url(),
            file.display()
        )
    );
    // The second time nobody is asked: not for the authority, and so not whether it is trusted.
    let again = came_of(
        &arguments,
        home.path(),
        Fake {
            line: "no",
            ..yes()
        },
    );
    assert_eq!(
        (again.verdict, again.conversation.as_str()),
        (Verdict::Yes, "token: ")
    );
    let asked = host.end();
    let questions: Vec<(&str, Option<&str>)> = asked
        .iter()
        .map(|one| (one.question.as_str(), one.token.as_deref()))
        .collect();
    assert_eq!(
        questions,
        [
            ("GET /v1/authority", None),
            ("GET /v1/me", Some("vfioctl_0a_mine")),
            ("GET /v1/me", Some("vfioctl_0a_mine")),
        ]
    );
    let read = ClusterFile::read(&file).unwrap().unwrap();
    assert_eq!(read.token.secret(), "vfioctl_0a_mine");
}

#[test]
fn whoever_does_not_say_yes_sends_nothing() {
    let home = tempfile::tempdir().unwrap();
    let host = FakeHost::start(vec![authority(), authority(), me()]);
    let declined = came_of(
        &arguments(&host),
        home.path(),
        Fake {
            line: "\n",
            ..yes()
        },
    );
    assert_eq!(
        (declined.verdict, declined.name.as_deref()),
        (Verdict::No, Some("Declined"))
    );
    let alone = came_of(
        &arguments(&host),
        home.path(),
        Fake {
            is_there: false,
            ..yes()
        },
    );
    assert_eq!(
        (alone.verdict, alone.name.as_deref()),
        (Verdict::CouldNot, Some("NotAsked"))
    );
    assert!(
        alone
            .conversation
            .contains(&format!("--fingerprint {}", authority_fingerprint()))
    );
    assert_eq!(host.end().len(), 2);
    assert!(!home.path().join(".config").exists());
}

#[test]
fn a_fingerprint_or_a_file_settles_whom_to_trust() {
    let home = tempfile::tempdir().unwrap();
    let host = FakeHost::start(vec![authority(), me(), me(), authority()]);
    let token_file = home.path().join("token");
    std::fs::write(&token_file, "vfioctl_0a_filed\n").unwrap();
    let nobody = || Fake {
        is_there: false,
        line: "",
        secret: "",
    };
    let by_fingerprint = Login {
        fingerprint: Some(authority_fingerprint()),
        token_file: Some(token_file.clone()),
        cluster: Some(home.path().join("one/c.json")),
        ..arguments(&host)
    };
    assert_eq!(
        came_of(&by_fingerprint, home.path(), nobody()).verdict,
        Verdict::Yes
    );
    let pem = home.path().join("authority.pem");
    std::fs::write(&pem, authority_pem()).unwrap();
    let by_file = Login {
        authority: Some(pem),
        token_file: Some(token_file),
        cluster: Some(home.path().join("two/c.json")),
        ..arguments(&host)
    };
    assert_eq!(
        came_of(&by_file, home.path(), nobody()).verdict,
        Verdict::Yes
    );
    let wrong = Login {
        fingerprint: Some("00".repeat(32).parse().unwrap()),
        ..arguments(&host)
    };
    let refused = came_of(&wrong, home.path(), yes());
    assert_eq!(
        (refused.verdict, refused.name.as_deref()),
        (Verdict::CouldNot, Some("HostNotTrusted"))
    );
    assert_eq!(host.end().len(), 4);
}

#[test]
fn a_token_that_is_none_is_not_written_down() {
    let home = tempfile::tempdir().unwrap();
    let host = FakeHost::start(vec![
        authority(),
        problem(401, "not_authenticated"),
        authority(),
    ]);
    let wrong = came_of(&arguments(&host), home.path(), yes());
    assert_eq!(
        (wrong.verdict, wrong.name.as_deref()),
        (Verdict::CouldNot, Some("NotAuthenticated"))
    );
    let empty = came_of(
        &arguments(&host),
        home.path(),
        Fake {
            secret: "",
            ..yes()
        },
    );
    assert_eq!(empty.name.as_deref(), Some("CannotRead"));
    assert_eq!(host.end().len(), 3);
    assert!(!home.path().join(".config").exists());
}

#[test]
fn an_impostor_is_told_by_its_certificate() {
    let home = tempfile::tempdir().unwrap();
    let impostor = certificate_by(&make_issuer(), "localhost");
    let pem: Authority = impostor.0.parse().unwrap();
    let host = FakeHost::start_with(vec![me()], impostor);
    let file = home.path().join("authority.pem");
    std::fs::write(&file, authority_pem()).unwrap();
    let arguments = Login {
        authority: Some(file),
        ..arguments(&host)
    };
    let came = came_of(&arguments, home.path(), yes());
    assert_eq!(
        (came.verdict, came.name.as_deref()),
        (Verdict::CouldNot, Some("HostNotTrusted"))
    );
    let presented = format!(
        "SHA-256 {}, is not trusted: another authority signed it",
        pem.fingerprint()
    );
    assert!(
        came.conversation.contains(&presented),
        "{}",
        came.conversation
    );
    assert!(
        came.conversation
            .contains(&format!("fingerprint {}", authority_fingerprint()))
    );
    assert_eq!(host.end().len(), 0, "no token was sent");
}

#[test]
fn a_certificate_for_another_name_is_told_as_such() {
    let host = FakeHost::start_with(vec![me()], certificate("gpu-host"));
    let outcome = host.run(&["whoami"]);
    assert_eq!(
        (outcome.verdict, outcome.asked.len()),
        (Verdict::CouldNot, 0)
    );
    assert!(
        outcome
            .conversation
            .contains("is not trusted: it is for gpu-host\n"),
        "{}",
        outcome.conversation
    );
}

#[test]
fn a_host_that_is_not_there_and_one_that_speaks_otherwise_are_told_apart() {
    let host = FakeHost::start(Vec::new());
    let url = host.url();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    std::fs::copy(host.folder().join("cluster.json"), &path).unwrap();
    host.end();
    let run = |path: &Path| {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let words = ["vfioctl", "node", "list", "--cluster"].map(Into::into);
        let arguments = words
            .into_iter()
            .chain([path.as_os_str().to_owned()])
            .collect();
        let verdict = crate::run(arguments, &mut answer, &mut conversation);
        (verdict, String::from_utf8(conversation).unwrap())
    };
    let (verdict, told) = run(&path);
    assert_eq!(verdict, Verdict::CouldNot);
    let expected = format!(
        "vfioctl: cannot reach {url}\n  because: nothing listens there\n  try: make sure that \
         'vfioctl-host' runs there; '{}' names it\n",
        path.display()
    );
    assert_eq!(told, expected);

    let other = FakeHost::start(vec![
        Reply::Bytes(b"<html>".to_vec(), false),
        ok(json!({"version": "99.1.0", "api": "v9"})),
    ]);
    let outcome = other.run(&["node", "list", "--json"]);
    assert_eq!(outcome.verdict, Verdict::CouldNot);
    assert_eq!(outcome.json()["error"]["name"], "HostTooNew");
}

#[test]
fn logging_out_forgets_the_file() {
    let home = tempfile::tempdir().unwrap();
    let host = FakeHost::start(Vec::new());
    let path = home.path().join("c.json");
    std::fs::copy(host.folder().join("cluster.json"), &path).unwrap();
    host.end();
    let arguments = Logout {
        cluster: Some(path.clone()),
    };
    for text in [
        format!("forgotten: {}\n", path.display()),
        "no cluster was known\n".to_owned(),
    ] {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut answer, &mut conversation, false);
        assert_eq!(
            log_out(&arguments, &Places::below(home.path()), &mut output),
            Ok(Verdict::Yes)
        );
        assert_eq!(String::from_utf8(answer).unwrap(), text);
    }
    assert!(!path.exists());
}
