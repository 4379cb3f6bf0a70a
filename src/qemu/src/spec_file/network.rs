//! The keys of a specification file that are about the network.

use serde::Deserialize;
use toml::Spanned;
use vfioctl_core::machine::{Forward, Network};

use super::error::Cause;
use super::{File, Reader, SpecFileError};

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum NetworkName {
    #[default]
    None,
    User,
    Stream,
}

impl File {
    pub(super) fn network(&self, reader: Reader<'_>) -> Result<Network, SpecFileError> {
        let first = self.forwards.first().map(Spanned::span);
        let error = |span, cause| Err(SpecFileError::new(reader.text, span, cause));
        match (*self.network.get_ref(), &self.socket) {
            (NetworkName::User | NetworkName::None, Some(socket)) => {
                error(Some(socket.span()), Cause::SocketWithoutStream)
            }
            (NetworkName::None | NetworkName::Stream, _) if first.is_some() => {
                error(first, Cause::ForwardWithoutUser)
            }
            (NetworkName::Stream, None) => error(Some(self.network.span()), Cause::NoSocket),
            (NetworkName::Stream, Some(socket)) => Ok(Network::Stream {
                socket: reader.path(socket)?,
            }),
            (NetworkName::User, None) => Ok(Network::User {
                forwards: self
                    .forwards
                    .iter()
                    .map(|text| forward(text, reader))
                    .collect::<Result<_, _>>()?,
            }),
            (NetworkName::None, None) => Ok(Network::None),
        }
    }
}

fn forward(text: &Spanned<String>, reader: Reader<'_>) -> Result<Forward, SpecFileError> {
    let parsed = text.get_ref().parse();
    parsed.map_err(|error| reader.error(text.span(), Cause::Forward(error)))
}
