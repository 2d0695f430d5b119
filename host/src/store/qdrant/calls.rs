//! Calls: repeated while that may help, and told apart when they fail.

use std::time::Duration;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{PointsOperationResponse, UpdateBatchPoints, UpdateStatus};
use tonic::Code;

use super::Qdrant;
use crate::store::StoreError;

/// How often a call is repeated that found no server. All writes here may be
/// applied twice with the same result.
const MAX_RETRIES: u32 = 3;

impl Qdrant {
    /// Repeats a call that may be repeated, while there is no server to take it.
    pub(super) async fn call<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let mut n_retries = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if n_retries == MAX_RETRIES || !is_transient(&error) {
                return Err(self.failed(error));
            }
            let pause = match &error {
                QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
                    Duration::from_secs(*retry_after_seconds).min(self.timeout)
                }
                _ => Duration::from_millis(100) * 2_u32.pow(n_retries),
            };
            tracing::warn!(error = said(&error), ?pause, "call to Qdrant failed and is repeated");
            tokio::time::sleep(pause).await;
            n_retries += 1;
        }
    }

    /// Repeats a write until the server says that it is applied.
    pub(super) async fn write<F>(&self, mut call: impl FnMut() -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<PointsOperationResponse, QdrantError>>,
    {
        // The server stopped waiting, not working. The same write again queues
        // behind the first, so that its answer covers both.
        for _ in 0..=MAX_RETRIES {
            let answer = self.call(&mut call).await?;
            if answer.result.is_some_and(|result| result.status() == UpdateStatus::Completed) {
                return Ok(());
            }
        }
        Err(failed(format!("Qdrant at `{}` did not apply a write within {:?}", self.url, self.timeout)))
    }

    pub(super) fn failed(&self, error: QdrantError) -> StoreError {
        if is_transient(&error) {
            StoreError::Unreachable { url: self.url.clone(), reason: said(&error) }
        } else {
            StoreError::Failed(Box::new(error))
        }
    }

    /// As `write`, for a call that answers for each operation.
    pub(super) async fn write_batch(&self, request: UpdateBatchPoints) -> Result<(), StoreError> {
        self.write(|| {
            let answer = self.client.update_points_batch(request.clone());
            async {
                let results = answer.await?.result;
                // One that is not applied stands for all.
                let open = results.iter().find(|result| result.status() != UpdateStatus::Completed);
                let result = open.or(results.last()).copied();
                Ok(PointsOperationResponse { result, ..Default::default() })
            }
        })
        .await
    }
}

/// Whether the same call may succeed a little later.
fn is_transient(error: &QdrantError) -> bool {
    match error {
        QdrantError::ResourceExhaustedError { .. } | QdrantError::Io(_) => true,
        QdrantError::ResponseError { status } => {
            // The client says `Internal` when it cannot connect.
            let cannot_connect = status.code() == Code::Internal && status.message().contains("onnect");
            status.code() == Code::Unavailable || cannot_connect
        }
        _ => false,
    }
}

/// What the server said, without the client's dump of the answer's headers.
pub(super) fn said(error: &QdrantError) -> String {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            cause_in(status.message()).to_owned()
        }
        other => other.to_string(),
    }
}

/// Of a failure to connect, which the client shows with all its layers, the innermost message.
fn cause_in(message: &str) -> &str {
    if !message.contains("tonic::transport::Error") {
        return message;
    }
    message.rsplit('"').nth(1).unwrap_or(message)
}

pub(super) fn failed(reason: String) -> StoreError {
    StoreError::Failed(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failure_to_connect_the_cause_is_told() {
        let message = r#"Failed to connect to http://127.0.0.1:1/: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))"#;
        assert_eq!(cause_in(message), "Connection refused");
        assert_eq!(cause_in(r#"collection "docs" is gone"#), r#"collection "docs" is gone"#);
    }
}
