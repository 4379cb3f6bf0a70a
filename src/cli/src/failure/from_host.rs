//! What people are told where a cluster's host has no answer, or says no.

use vfioctl_api::Version;

use super::{Failure, FailureKind};
use crate::cluster::{Distrust, HostError, HostErrorKind, HostProblem, WhyDistrusted};

/// This command's version.
const OWN: &str = env!("CARGO_PKG_VERSION");

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let HostError { host, file, kind } = error;
        match *kind {
            HostErrorKind::Unreachable(because) => {
                let origin = match file {
                    Some(file) => format!("; '{}' names it", file.display()),
                    None => String::new(),
                };
                Self::could_not("HostUnreachable", format!("cannot reach {host}"))
                    .because(because)
                    .hint(format!("make sure that 'vfioctl-host' runs there{origin}"))
            }
            HostErrorKind::TimedOut(because) => {
                Self::could_not("HostTimedOut", format!("{host} is too slow"))
                    .because(because)
                    .hint("try again in a moment; what was asked for may have been done")
            }
            HostErrorKind::Broken(because) => {
                Self::could_not("HostBroken", format!("{host} has not finished its answer"))
                    .because(because)
                    .hint("try again; what was asked for may have been done")
            }
            HostErrorKind::NotTrusted(distrust) => not_trusted(&host.to_string(), &distrust),
            HostErrorKind::Problem(problem) => from_problem(problem),
            HostErrorKind::NotUnderstood { because, theirs } => {
                not_understood(&host.to_string(), because, theirs.as_ref())
            }
        }
    }
}

fn not_trusted(host: &str, distrust: &Distrust) -> Failure {
    let presented = match &distrust.presented {
        Some(fingerprint) => {
            format!("the certificate that it presented, SHA-256 {fingerprint}, is not trusted: ")
        }
        None => "the certificate that it presented is not trusted: ".to_owned(),
    };
    let hint = match &distrust.why {
        WhyDistrusted::Authority | WhyDistrusted::Other(_) => format!(
            "ask its administrator who signs it now: the authority that is trusted has the \
             fingerprint {}; 'vfioctl logout' and 'vfioctl login {host}' trust another",
            distrust.trusted
        ),
        WhyDistrusted::Name(_) => {
            "name the host as its certificate does, or have 'vfioctl-host init --name NAME' make one \
             for this name"
                .to_owned()
        }
        WhyDistrusted::Time => "set the clock of this machine, or have the certificate made anew".to_owned(),
    };
    Failure::could_not(
        "HostNotTrusted",
        format!("cannot trust what answers at {host}"),
    )
    .because(format!("{presented}{}", distrust.why))
    .hint(hint)
}

fn from_problem(problem: HostProblem) -> Failure {
    let kind = match problem.code {
        Some(code) if code.is_no() => FailureKind::No,
        _ => FailureKind::CouldNot,
    };
    let failure = Failure::new(kind, &name(&problem.name), problem.message)
        .hint(problem.hint.unwrap_or_default());
    match problem.theirs {
        Some(theirs) => failure.because(versions(&theirs)),
        None => failure,
    }
}

/// The name of a kind of problem for programs: `no_room` is `NoRoom`.
fn name(code: &str) -> String {
    let mut name = String::new();
    for word in code.split('_') {
        let mut characters = word.chars();
        name.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(characters.as_str());
    }
    name
}

fn not_understood(host: &str, because: String, theirs: Option<&Version>) -> Failure {
    let (name, what, hint) = match theirs.map(|theirs| (theirs, age(&theirs.version))) {
        Some((theirs, Age::Older)) => (
            "HostTooOld",
            format!("{host} is older than this command: {}", versions(theirs)),
            "have 'vfioctl-host' updated there",
        ),
        Some((theirs, Age::Newer)) => (
            "HostTooNew",
            format!("{host} is newer than this command: {}", versions(theirs)),
            "update this command",
        ),
        _ => (
            "HostNotUnderstood",
            format!("what answers at {host} is not understood"),
            "make sure that it is a 'vfioctl-host', of the version of this command",
        ),
    };
    Failure::could_not(name, what).because(because).hint(hint)
}

fn versions(theirs: &Version) -> String {
    format!(
        "the host has version {}, this command {OWN}",
        theirs.version
    )
}

/// How a host's version stands to this command's.
enum Age {
    Older,
    Same,
    Newer,
}

fn age(theirs: &str) -> Age {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.')
            .map(|part| part.parse().unwrap_or_default())
            .collect()
    };
    match numbers(theirs).cmp(&numbers(OWN)) {
        std::cmp::Ordering::Less => Age::Older,
        std::cmp::Ordering::Equal => Age::Same,
        std::cmp::Ordering::Greater => Age::Newer,
    }
}

#[cfg(test)]
mod tests {
    use vfioctl_api::ProblemCode;

    use super::*;
    use crate::cluster::Fingerprint;

    fn failure(kind: HostErrorKind) -> Failure {
        HostError {
            host: "gpu-host".parse().unwrap(),
            file: Some("/c.json".into()),
            kind: Box::new(kind),
        }
        .into()
    }

    fn problem(code: Option<ProblemCode>, name: &str, theirs: Option<Version>) -> Failure {
        failure(HostErrorKind::Problem(HostProblem {
            code,
            name: name.to_owned(),
            message: "it is taken".to_owned(),
            hint: Some("wait".to_owned()),
            theirs,
        }))
    }

    fn version(version: &str) -> Option<Version> {
        Some(Version {
            version: version.to_owned(),
            api: "v1".to_owned(),
        })
    }

    #[test]
    fn a_clear_no_of_the_host_has_status_1() {
        let no = problem(Some(ProblemCode::NoRoom), "no_room", None);
        assert_eq!((no.name(), no.verdict().status()), ("NoRoom", 1));
        assert_eq!(no.text(), "vfioctl: it is taken\n  try: wait\n");
        for code in [
            ProblemCode::NotFound,
            ProblemCode::StoreUnavailable,
            ProblemCode::NotAuthenticated,
        ] {
            assert_eq!(
                problem(Some(code), "x", None).verdict().status(),
                2,
                "{code:?}"
            );
        }
        let unknown = problem(None, "from_the_future", version("99.0.0"));
        assert_eq!(
            (unknown.name(), unknown.verdict().status()),
            ("FromTheFuture", 2)
        );
        assert!(unknown.text().contains("the host has version 99.0.0"));
    }

    #[test]
    fn a_host_of_another_age_is_told_as_such() {
        let name = |theirs| {
            let kind = HostErrorKind::NotUnderstood {
                because: "x".to_owned(),
                theirs,
            };
            failure(kind).name().to_owned()
        };
        assert_eq!(name(version("0.0.9")), "HostTooOld");
        assert_eq!(name(version("0.10.0-rc1")), "HostTooNew");
        assert_eq!(name(version(OWN)), "HostNotUnderstood");
        assert_eq!(name(None), "HostNotUnderstood");
    }

    #[test]
    fn each_way_not_to_be_answered_has_its_own_words() {
        assert_eq!(
            failure(HostErrorKind::Unreachable("nothing listens there".into())).text(),
            "vfioctl: cannot reach https://gpu-host:8470\n  because: nothing listens there\n  \
             try: make sure that 'vfioctl-host' runs there; '/c.json' names it\n"
        );
        let fingerprint = Fingerprint::of(b"");
        let distrust = Distrust {
            why: WhyDistrusted::Name(vec!["a".into(), "b".into()]),
            presented: Some(fingerprint),
            trusted: fingerprint,
        };
        assert_eq!(
            failure(HostErrorKind::NotTrusted(distrust)).text(),
            format!(
                "vfioctl: cannot trust what answers at https://gpu-host:8470\n  because: the \
                 certificate that it presented, SHA-256 {fingerprint}, is not trusted: it is for a, \
                 b\n  try: name the host as its certificate does, or have 'vfioctl-host init --name \
                 NAME' make one for this name\n"
            )
        );
    }
}
