//! Who may do what in etcd, and what is there besides.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_client::{Client, PermissionType};
use libtest_mimic::Trial;
use vfioctl_store::{ErrorKind, EtcdOptions, EtcdStore, EtcdTls, Prefix, Store};

use super::etcd::{commit, connect, put, soon, value};
use super::server::Server;
use super::{skipped, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("etcd::a_user_may_do_what_the_role_may", users),
        match Command::new("openssl").arg("version").output() {
            Ok(_) => trial("etcd::certificates_decide", certificates),
            Err(_) => skipped("etcd::certificates_decide", "openssl is not installed"),
        },
        trial("etcd::what_is_not_ours_is_told", foreign),
        trial("etcd::clusters_share_an_etcd_by_prefix", prefixes),
    ]
}

async fn users() {
    let server = Server::start();
    drop(connect(&server.endpoint()).await);
    let mut root = Client::connect([server.endpoint()], None).await.unwrap();
    root.user_add("root", "r", None).await.unwrap();
    root.role_add("root").await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("host", "right", None).await.unwrap();
    root.role_add("host").await.unwrap();
    let permission =
        etcd_client::Permission::new(PermissionType::Readwrite, "vfioctl/").with_prefix();
    root.role_grant_permission("host", permission)
        .await
        .unwrap();
    root.user_grant_role("host", "host").await.unwrap();
    root.auth_enable().await.unwrap();

    let options = || EtcdOptions::new(&[server.endpoint()]).unwrap();
    let wrong = options().with_user("host", "wrong");
    let elsewhere = options()
        .with_user("host", "right")
        .with_prefix(Prefix::new(&["other"]).unwrap());
    for refused in [options(), wrong, elsewhere] {
        let error = EtcdStore::connect(&refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    }
    let store = EtcdStore::connect(&options().with_user("host", "right"))
        .await
        .unwrap();
    commit(&store, put("a", "1")).await;
    let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().changes.len(), 1);
    let lease = store.grant(Duration::from_secs(5)).await.unwrap();
    store.renew(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
}

async fn certificates() {
    let server = Server::start_with(|folder| {
        certify(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            format!("--cert-file={}", file("server.pem")),
            format!("--key-file={}", file("server.key")),
            format!("--trusted-ca-file={}", file("authority.pem")),
            "--client-cert-auth".to_owned(),
        ]
    });
    let read = |name: &str| std::fs::read(server.file(name)).unwrap();
    let options = || EtcdOptions::new(&[server.endpoint()]).unwrap();
    let tls = EtcdTls::new(&read("authority.pem"));
    let identified = tls
        .clone()
        .with_identity(&read("client.pem"), &read("client.key"));
    let fine = options().with_tls(identified);
    let store = soon(|| EtcdStore::connect(&fine)).await;
    commit(&store, put("a", "1")).await;
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    let stranger = EtcdTls::new(&read("other.pem"));
    let stranger = stranger.with_identity(&read("client.pem"), &read("client.key"));
    for not_fine in [options().with_tls(tls), options().with_tls(stranger)] {
        let error = EtcdStore::connect(&not_fine).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Refused),
            "{error:?}"
        );
    }
    let plain = server.endpoint().replace("https", "http");
    let error = EtcdStore::connect(&EtcdOptions::new(&[plain]).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// An authority with certificates of a server and a client, and another authority.
fn certify(folder: &Path) {
    let script = "set -e
        authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
            -keyout $1.key -out $1.pem -subj /CN=$1 -days 2 -addext basicConstraints=critical,CA:TRUE; }
        certificate() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
            -keyout $1.key -out $1.csr -subj /CN=$1
            printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >$1.ext
            openssl x509 -req -in $1.csr -CA authority.pem -CAkey authority.key -CAcreateserial \\
            -out $1.pem -days 2 -extfile $1.ext; }
        authority authority; authority other; certificate server; certificate client";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

async fn foreign() {
    let server = Server::start();
    let store = connect(&server.endpoint()).await;
    let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
    commit(&store, put("a", "1")).await;
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    client.put("vfioctl/a//b", "1", None).await.unwrap();
    assert!(watch.next().await.is_ok());
    assert_eq!(watch.next().await.unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(
        store.list(&Prefix::all()).await.unwrap_err().kind(),
        ErrorKind::Damaged
    );
    client.put("vfioctl0", "1", None).await.unwrap();
    client.delete("vfioctl/a//b", None).await.unwrap();
    assert_eq!(store.list(&Prefix::all()).await.unwrap().entries.len(), 1);
}

async fn prefixes() {
    let server = Server::start();
    let (one, other) = (
        Prefix::new(&["one"]).unwrap(),
        Prefix::new(&["one", "b"]).unwrap(),
    );
    let options = |prefix| {
        EtcdOptions::new(&[server.endpoint()])
            .unwrap()
            .with_prefix(prefix)
    };
    let (one, other) = (options(one), options(other));
    let (one, other) = (
        soon(|| EtcdStore::connect(&one)).await,
        soon(|| EtcdStore::connect(&other)).await,
    );
    commit(&one, put("a", "1")).await;
    commit(&other, put("a", "2")).await;
    assert_eq!(value(&one, "a").await.as_deref(), Some("1"));
    assert_eq!(value(&other, "a").await.as_deref(), Some("2"));
    assert_eq!(other.list(&Prefix::all()).await.unwrap().entries.len(), 1);
}
