//! Calls: repeated while that may help, and told apart when they fail.

use std::time::Duration;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{PointsOperationResponse, UpdateBatchPoints, UpdateStatus};
use tonic::Code;

use super::Qdrant;
use crate::store::StoreError;

/// The pause before a call is repeated for the first time; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause that the server did not ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5);

impl Qdrant {
    /// Repeats a call while there is no server to take it, or one that is too busy.
    ///
    /// Every call here may be applied twice with the same result: one whose
    /// answer came too late, or got lost, is sent again.
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
            if n_retries == self.max_repeats || !is_transient(&error) {
                return Err(self.failed(error));
            }
            let pause = match &error {
                QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
                    Duration::from_secs(*retry_after_seconds).min(self.timeout)
                }
                _ => PAUSE.saturating_mul(2_u32.saturating_pow(n_retries)).min(MAX_PAUSE),
            };
            tracing::warn!(error = said(&error), ?pause, "call to Qdrant failed and is repeated");
            tokio::time::sleep(pause).await;
            n_retries += 1;
        }
    }

    /// Repeats a write until the server says that it is applied, or, where
    /// nobody waits for that, that it has it in its log.
    pub(super) async fn write<F>(&self, mut call: impl FnMut() -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<PointsOperationResponse, QdrantError>>,
    {
        // The server stopped waiting, not working. The same write again queues
        // behind the first, so that its answer covers both.
        for _ in 0..=self.max_repeats {
            let answer = self.call(&mut call).await?;
            let status = answer.result.map(|result| result.status());
            // Else it is `WaitTimeout`, or `ClockRejected` by a replica that was ahead.
            if matches!(status, Some(UpdateStatus::Completed | UpdateStatus::Acknowledged)) {
                return Ok(());
            }
        }
        Err(failed(format!("Qdrant at `{}` did not apply a write within {:?}", self.url, self.timeout)))
    }

    pub(super) fn failed(&self, error: QdrantError) -> StoreError {
        let (url, reason) = (self.url.clone(), said(&error));
        match error {
            QdrantError::ResponseError { status } if status.code() == Code::Unauthenticated => {
                StoreError::Key { url, reason }
            }
            error if is_transient(&error) => StoreError::Unreachable { url, reason },
            QdrantError::ResponseError { .. } => StoreError::Refused { url, reason },
            other => StoreError::Failed(Box::new(other)),
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
            // It says `Cancelled` where it waited for an answer as long as it may.
            matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded)
                || cannot_connect
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
