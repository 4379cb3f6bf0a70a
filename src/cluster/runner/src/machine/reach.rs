//! Whether a machine is reached by SSH: not when somebody takes the connection, which passt and QEMU do
//! before the guest has booted, but when a server of SSH has spoken (RFC 4253, section 4.2).

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::limits::SSH_BANNER_TIME;

/// What a client says. It is said before anything is heard: Debian 12's passt does not complete a
/// connection whose client says nothing (its guest waits for an acknowledgement that never comes).
const GREETING: &[u8] = b"SSH-2.0-vfioctl\r\n";
/// Bytes in which a server has said that it is one: it may say something else before, but hardly does.
const MAX_BEFORE: u64 = 8 << 10;

/// Whether a server of SSH answers there.
pub(super) async fn answers_ssh(address: SocketAddr) -> bool {
    let asked = tokio::time::timeout(SSH_BANNER_TIME, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(GREETING).await?;
        let mut lines = BufReader::new(stream.take(MAX_BEFORE)).split(b'\n');
        while let Some(line) = lines.next_segment().await? {
            if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
                return Ok(true);
            }
        }
        std::io::Result::Ok(false)
    });
    asked.await.is_ok_and(|answered| answered.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(says: Option<&'static [u8]>, stays: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut greeting = vec![0; GREETING.len()];
            stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, GREETING);
            if let Some(says) = says {
                stream.write_all(says).await.unwrap();
            }
            if stays {
                std::future::pending::<()>().await;
            }
        });
        let answer = answers_ssh(address).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_connection_that_was_taken_is_no_answer() {
        assert!(!asked(None, true).await);
        assert!(!asked(None, false).await);
        assert!(!asked(Some(b"HTTP/1.1 200 OK\r\n\r\n"), false).await);
        assert!(!asked(Some(b"SSH-2"), false).await);
    }

    #[tokio::test]
    async fn a_banner_is_one_and_lines_may_come_before_it() {
        assert!(asked(Some(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), true).await);
        assert!(asked(Some(b"hello\r\nSSH-2.0-x\r\n"), true).await);
        assert!(asked(Some(b"SSH-1.99-x\n"), true).await);
    }

    #[tokio::test]
    async fn nobody_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(!answers_ssh(address).await);
    }
}
