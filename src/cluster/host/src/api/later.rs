//! Later: an answer that is still to come, when all that was asked has been taken in.
//!
//! A handler whose caller may have to wait for long gives back a response with one of these in place of
//! a response that is whole. So nothing of the request, its guard and its handler is kept meanwhile; the
//! connection waits, with as little as it can (`server/connection.rs`).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::{IntoResponse, Response};

/// An answer that is still to come.
pub(crate) type LaterAnswer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// An answer that is still to come, on its way to the connection. Who takes it first has it.
#[derive(Clone)]
pub(crate) struct Later(Arc<Mutex<Option<LaterAnswer>>>);

impl Later {
    /// The answer that a future comes to.
    pub(crate) fn new(answer: impl Future<Output = Response> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(answer)))))
    }

    /// Takes the answer out of a response; none where the response is whole.
    pub(crate) fn take(response: &mut Response) -> Option<LaterAnswer> {
        let Self(answer) = response.extensions_mut().remove()?;
        answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl IntoResponse for Later {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}
