//! A seed for tests, with keys that are used nowhere.

use super::{AuthorizedKeys, HostKey, Network, Seed};

pub(crate) const PRIVATE_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
    QyNTUxOQAAACD4s5Wx9qqI4OjpCFIYjHj/N7Nfjm6AElaLEjlmpmlsSAAAAIgGd4IeBneC\n\
    HgAAAAtzc2gtZWQyNTUxOQAAACD4s5Wx9qqI4OjpCFIYjHj/N7Nfjm6AElaLEjlmpmlsSA\n\
    AAAEBT9Mv1GIWd1Nx8IbFllbeeBixTcFs7RKxa1/OtxVsaP/izlbH2qojg6OkIUhiMeP83\n\
    s1+OboASVosSOWamaWxIAAAAAAECAwQF\n\
    -----END OPENSSH PRIVATE KEY-----\n";
pub(crate) const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPizlbH2qojg6OkIUhiMeP83s1+OboASVo\
    sSOWamaWxI";
pub(crate) const OTHER_PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC62bhj4BnZkCBvJFH4iwsBg7GTyARVlOS\
    QNC4bFqICn";

/// The seed of a machine.
pub(crate) fn seed() -> Seed {
    Seed {
        instance_id: "vps-1".parse().unwrap(),
        host_name: "guest".parse().unwrap(),
        user: "alice".parse().unwrap(),
        authorized_keys: AuthorizedKeys::new(vec![OTHER_PUBLIC_KEY.parse().unwrap()]).unwrap(),
        host_key: HostKey::new(PRIVATE_KEY, PUBLIC_KEY).unwrap(),
        network: Network::Dhcp(None),
        nvidia: None,
    }
}
