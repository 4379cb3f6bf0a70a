//! What a container asks for.

use vfioctl_core::claim::Container;
use vfioctl_core::pci::PciAddress;

use super::{WireError, parse};
use crate::container as io;

/// A container's request for functions.
pub fn container_request(container: &Container, addresses: &[PciAddress]) -> io::Claim_Args {
    io::Claim_Args {
        name: container.name.to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        exclusive: Some(container.exclusive),
        user: container.user.as_ref().map(ToString::to_string),
    }
}

/// A container's request for functions, from the wire.
///
/// # Errors
/// A name, a label or an address that is not one; none at all; one that is named twice.
pub fn container_request_from_wire(
    request: &io::Claim_Args,
) -> Result<(Container, Vec<PciAddress>), WireError> {
    let exclusive = request.exclusive.unwrap_or(false);
    let container = container_from_wire(&request.name, exclusive, request.user.as_deref())?;
    let addresses: Vec<PciAddress> = request
        .addresses
        .iter()
        .map(|text| parse("addresses", text))
        .collect::<Result<_, _>>()?;
    let mut sorted = addresses.clone();
    sorted.sort();
    let twice = sorted.windows(2).find(|pair| pair.first() == pair.last());
    let because = match twice.and_then(<[PciAddress]>::first) {
        Some(address) => format!("{address} is named twice"),
        None if addresses.is_empty() => "there are none".to_owned(),
        None => return Ok((container, addresses)),
    };
    Err(WireError {
        field: "addresses",
        because,
    })
}

pub(super) fn container_from_wire(
    name: &str,
    exclusive: bool,
    user: Option<&str>,
) -> Result<Container, WireError> {
    Ok(Container {
        name: parse("name", name)?,
        exclusive,
        user: user.map(|user| parse("user", user)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_journey() {
        let container = Container {
            name: "train".parse().unwrap(),
            exclusive: true,
            user: "ann".parse().ok(),
        };
        let addresses = ["0000:01:00.0", "10000:01:00.1"].map(|text| text.parse().unwrap());
        let request = container_request(&container, &addresses);
        let expected = Ok((container, addresses.to_vec()));
        assert_eq!(container_request_from_wire(&request), expected);
    }

    #[test]
    fn a_request_names_functions_and_each_once() {
        let field = |addresses: &[&str]| {
            let request = io::Claim_Args {
                name: "c".into(),
                addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
                exclusive: None,
                user: None,
            };
            container_request_from_wire(&request).map_err(|error| error.to_string())
        };
        assert_eq!(field(&[]), Err("'addresses': there are none".into()));
        let again = field(&["01:00.0", "02:00.0", "0000:01:00.0"]);
        assert_eq!(
            again,
            Err("'addresses': 0000:01:00.0 is named twice".into())
        );
        assert!(field(&["01:00.0", "01:00.1"]).is_ok());
    }
}
