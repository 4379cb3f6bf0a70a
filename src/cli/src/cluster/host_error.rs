//! Why a host has no answer.

use std::fmt;
use std::io;
use std::path::PathBuf;

use vfioctl_api::{ProblemCode, Version};

use super::access::Access;
use super::authority::Fingerprint;
use super::host_url::HostUrl;

/// A host has no answer, or says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostError {
    /// The host that was asked.
    pub(crate) host: HostUrl,
    /// The file that the host is from; none: it was named.
    pub(crate) file: Option<PathBuf>,
    /// Why.
    pub(crate) kind: Box<HostErrorKind>,
}

/// Why a host has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostErrorKind {
    /// There is no connection.
    Unreachable(String),
    /// Something answers there that is not trusted.
    NotTrusted(Distrust),
    /// It takes longer than it may.
    TimedOut(String),
    /// The connection broke.
    Broken(String),
    /// The host says no.
    Problem(HostProblem),
    /// What was answered is not understood.
    NotUnderstood {
        /// Why.
        because: String,
        /// The host's version, where that could be found out.
        theirs: Option<Version>,
    },
}

/// What a host says where it does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostProblem {
    /// The kind; none: one that this command does not know.
    pub(crate) code: Option<ProblemCode>,
    /// The kind, as the host names it.
    pub(crate) name: String,
    /// What, and because of what.
    pub(crate) message: String,
    /// What to try.
    pub(crate) hint: Option<String>,
    /// The host's version, where it matters and is another one than this command's.
    pub(crate) theirs: Option<Version>,
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// Why.
    pub(crate) why: WhyDistrusted,
    /// What tells the certificate that was presented, where it was seen.
    pub(crate) presented: Option<Fingerprint>,
    /// What tells the authority that is trusted.
    pub(crate) trusted: Fingerprint,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhyDistrusted {
    /// Another authority signed it.
    Authority,
    /// It is for other names, these.
    Name(Vec<String>),
    /// It is not valid at the time that this machine's clock shows.
    Time,
    /// Anything else, in the words of the TLS library.
    Other(String),
}

impl HostError {
    /// The host has ended what it was telling.
    pub(super) fn ended(access: &Access) -> Self {
        Self {
            host: access.host.clone(),
            file: access.file.clone(),
            kind: Box::new(HostErrorKind::Broken(
                "the host has ended the connection".to_owned(),
            )),
        }
    }
}

impl HostErrorKind {
    /// Whether the same question may have another answer in a moment: the host starts again, or
    /// the way to it is mended.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Broken(_) => true,
            Self::Problem(problem) => matches!(
                problem.code,
                Some(
                    ProblemCode::StoreUnavailable | ProblemCode::TooMuch | ProblemCode::NodeOffline
                )
            ),
            Self::NotTrusted(_) | Self::NotUnderstood { .. } => false,
        }
    }

    /// Whether the host says no with this code.
    pub(crate) fn is_problem(&self, code: ProblemCode) -> bool {
        matches!(self, Self::Problem(problem) if problem.code == Some(code))
    }

    /// Why a request or its answer did not come through.
    pub(super) fn of_transport(error: ureq::Error, trusted: Option<Fingerprint>) -> Self {
        match error {
            ureq::Error::Io(error) => Self::of_io(&error, trusted),
            ureq::Error::Rustls(error) => Self::of_tls(&error, trusted),
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Self::Unreachable("nothing answers there in time".to_owned())
            }
            ureq::Error::Timeout(_) => Self::TimedOut("it does not answer in time".to_owned()),
            ureq::Error::HostNotFound => {
                Self::Unreachable("its name is not known to this machine".to_owned())
            }
            ureq::Error::ConnectionFailed => Self::Unreachable("there is no way to it".to_owned()),
            other => Self::NotUnderstood {
                because: other.to_string(),
                theirs: None,
            },
        }
    }

    fn of_io(error: &io::Error, trusted: Option<Fingerprint>) -> Self {
        if let Some(of_tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::of_tls(of_tls, trusted);
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Self::TimedOut("it does not answer in time".to_owned())
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Broken("the connection broke".to_owned()),
            io::ErrorKind::ConnectionRefused => {
                Self::Unreachable("nothing listens there".to_owned())
            }
            _ => Self::Unreachable(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error, trusted: Option<Fingerprint>) -> Self {
        use rustls::CertificateError as Wrong;
        let (why, trusted) = match (error, trusted) {
            (rustls::Error::InvalidCertificate(wrong), Some(trusted)) => (wrong, trusted),
            (rustls::Error::InvalidMessage(_), _) => {
                return Self::NotUnderstood {
                    because: "what answers there does not speak TLS".to_owned(),
                    theirs: None,
                };
            }
            (other, _) => return Self::Broken(format!("TLS could not be agreed on: {other}")),
        };
        let why = match why {
            Wrong::UnknownIssuer | Wrong::BadSignature => WhyDistrusted::Authority,
            Wrong::NotValidForNameContext { presented, .. } => {
                WhyDistrusted::Name(presented.iter().map(|name| plain_name(name)).collect())
            }
            Wrong::NotValidForName => WhyDistrusted::Name(Vec::new()),
            Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. } => WhyDistrusted::Time,
            other => WhyDistrusted::Other(other.to_string()),
        };
        Self::NotTrusted(Distrust {
            why,
            presented: None,
            trusted,
        })
    }
}

/// A name of a certificate, which rustls tells as `DnsName("host")` or `IpAddress(192.0.2.7)`.
fn plain_name(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"').to_owned()
}

impl fmt::Display for WhyDistrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => f.write_str("another authority signed it"),
            Self::Name(names) if names.is_empty() => f.write_str("it is for another name"),
            Self::Name(names) => write!(f, "it is for {}", names.join(", ")),
            Self::Time => {
                f.write_str("it is not valid at the time that this machine's clock shows")
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: ureq::Error) -> HostErrorKind {
        HostErrorKind::of_transport(error, Some(Fingerprint::of(b"")))
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let io = |kind: io::ErrorKind| ureq::Error::Io(kind.into());
        for error in [
            io(io::ErrorKind::ConnectionRefused),
            io(io::ErrorKind::UnexpectedEof),
            io(io::ErrorKind::TimedOut),
            ureq::Error::HostNotFound,
            ureq::Error::Timeout(ureq::Timeout::PerRead),
        ] {
            let text = error.to_string();
            assert!(kind(error).is_passing(), "{text}");
        }
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, certificate);
        let distrusted = kind(ureq::Error::Io(wrapped));
        assert!(matches!(
            &distrusted,
            HostErrorKind::NotTrusted(Distrust {
                why: WhyDistrusted::Authority,
                ..
            })
        ));
        assert!(!distrusted.is_passing());
    }
}
