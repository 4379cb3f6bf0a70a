//! `Notice`: a device came or went.

use super::session::Session;
use crate::MethodError;

/// Any caller may: it is a hint to look, and the helper does what it would do by itself.
pub(super) fn notice(session: &Session) -> Result<(), MethodError> {
    session.helper.wait_until_ready();
    crate::notice::notice(&session.helper)
}
