//! Where a host answers, as it is typed: `https://gpu-host:8470`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use vfioctl_api::DEFAULT_PORT;

/// Where a host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostUrl {
    /// A name or an address; of IPv6 without brackets.
    name: String,
    port: u16,
}

/// Why a text is not the URL of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidHostUrl {
    /// Another scheme than `https`.
    Scheme,
    /// No name, or one with signs that no name has.
    Name,
    /// Not a TCP port.
    Port,
    /// A path, a question, or a user.
    More,
}

impl HostUrl {
    /// The name or address, as certificates have it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostUrl {
    type Err = InvalidHostUrl;

    fn from_str(text: &str) -> Result<Self, InvalidHostUrl> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => return Err(InvalidHostUrl::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(InvalidHostUrl::More);
        }
        let (name, port) = split_port(rest)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => parse_port(port)?,
        };
        Ok(Self { name, port })
    }
}

/// The name in lower case, and the text of the port where there is one.
fn split_port(text: &str) -> Result<(String, Option<&str>), InvalidHostUrl> {
    let address = |text: &str| match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(InvalidHostUrl::Name),
    };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, rest) = bracketed.split_once(']').ok_or(InvalidHostUrl::Name)?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((address(inside)?, None)),
            (_, Some(port)) => Ok((address(inside)?, Some(port))),
            (_, None) => Err(InvalidHostUrl::Name),
        };
    }
    // An address of IPv6 without brackets has no port behind it: nobody could tell where it ends.
    if text.matches(':').count() > 1 {
        return Ok((address(text)?, None));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // RFC 1035, section 2.3.4: 255 bytes on the wire are 253 signs.
    let is_name = (1..=253).contains(&name.len())
        && name.bytes().all(is_sign)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if is_name {
        Ok((name.to_ascii_lowercase(), port))
    } else {
        Err(InvalidHostUrl::Name)
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidHostUrl> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port != 0);
    port.ok_or(InvalidHostUrl::Port)
}

impl fmt::Display for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        match name.contains(':') {
            true => write!(f, "https://[{name}]:{port}"),
            false => write!(f, "https://{name}:{port}"),
        }
    }
}

impl fmt::Display for InvalidHostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "only 'https' is spoken: a token would travel in the open otherwise",
            Self::Name => "the name of a host is missing, or has signs that no name has",
            Self::Port => "the port is a number from 1 to 65535",
            Self::More => "a host is 'https://NAME:PORT' and nothing behind it",
        })
    }
}

impl std::error::Error for InvalidHostUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_leave_out_scheme_and_port() {
        let cases = [
            ("https://gpu-host:8470", "https://gpu-host:8470"),
            ("HTTPS://GPU-host.lab/", "https://gpu-host.lab:8470"),
            ("gpu-host", "https://gpu-host:8470"),
            ("10.0.0.1:443", "https://10.0.0.1:443"),
            ("[::1]:9000", "https://[::1]:9000"),
            ("https://[fe80::1]", "https://[fe80::1]:8470"),
            ("0:0:0:0:0:0:0:1", "https://[::1]:8470"),
        ];
        for (text, expected) in cases {
            let host: HostUrl = text.parse().unwrap();
            assert_eq!(host.to_string(), expected, "{text}");
            assert_eq!(expected.parse(), Ok(host), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_told_apart() {
        let cases = [
            ("http://a", InvalidHostUrl::Scheme),
            ("ssh://a", InvalidHostUrl::Scheme),
            ("", InvalidHostUrl::Name),
            ("https://", InvalidHostUrl::Name),
            (":8470", InvalidHostUrl::Name),
            ("-a", InvalidHostUrl::Name),
            ("a b", InvalidHostUrl::Name),
            ("a\n", InvalidHostUrl::Name),
            ("[::1", InvalidHostUrl::Name),
            ("[::1]x", InvalidHostUrl::Name),
            ("::g", InvalidHostUrl::Name),
            ("a:", InvalidHostUrl::Port),
            ("a:0", InvalidHostUrl::Port),
            ("a:+1", InvalidHostUrl::Port),
            ("a:65536", InvalidHostUrl::Port),
            ("a/v1", InvalidHostUrl::More),
            ("user@a", InvalidHostUrl::More),
            ("a?b", InvalidHostUrl::More),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<HostUrl>(), Err(expected), "{text:?}");
        }
    }
}
