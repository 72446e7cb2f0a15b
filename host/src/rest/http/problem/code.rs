//! The codes of problems, and the status that goes with each.

use axum::http::StatusCode;

#[cfg(test)]
mod tests;

codes! {
    /// Why a request was not carried out, for programs. A code never changes its text, its meaning or its status.
    pub(in crate::rest) enum ProblemCode {
        /// The request cannot be read: it is not HTTP, JSON or a form as it has to be.
        Malformed = "malformed",
        /// A token was sent in the URL, where logs would keep it.
        TokenInUrl = "token-in-url",
        /// The action needs parameters that were not sent.
        MissingParameters = "missing-parameters",
        /// No token was sent.
        NoToken = "no-token",
        /// The token is unknown, was revoked, or has expired.
        InvalidToken = "invalid-token",
        /// The username or the password is wrong.
        WrongPassword = "wrong-password",
        /// The user or the token may not do this.
        Denied = "denied",
        /// It does not exist, or the user may not know of it.
        NotFound = "not-found",
        /// The path exists, and does not have this method.
        MethodNotAllowed = "method-not-allowed",
        /// The body did not arrive in time.
        TimedOut = "timed-out",
        /// The name is taken; nothing was overwritten.
        AlreadyExists = "already-exists",
        /// Something else is in the way, which `detail` names.
        Conflict = "conflict",
        /// The document has changed since the version in `If-Match`.
        Changed = "changed",
        /// The body, or one of its values, is too long.
        TooLarge = "too-large",
        /// The log of the job is full.
        LogFull = "log-full",
        /// The URI is too long.
        UriTooLong = "uri-too-long",
        /// The body has a content type that is not understood here.
        UnsupportedMediaType = "unsupported-media-type",
        /// The package does not have these bytes.
        RangeNotSatisfiable = "range-not-satisfiable",
        /// The request can be read, and cannot be right.
        Invalid = "invalid",
        /// There are too many of something.
        TooMany = "too-many",
        /// The file is not an archive of its type.
        InvalidArchive = "invalid-archive",
        /// The idempotency key was used for another request.
        IdempotencyKeyReused = "idempotency-key-reused",
        /// Too many requests; try again after `Retry-After`.
        TooManyRequests = "too-many-requests",
        /// The header fields are too many or too long.
        HeadersTooLarge = "headers-too-large",
        /// The service failed; its log says why, under the `request_id`.
        Internal = "internal",
        /// The server works for as many clients as it can; try again after `Retry-After`.
        Busy = "busy",
        /// The server is not ready yet.
        Starting = "starting",
        /// The database does not answer; try again after `Retry-After`.
        Unavailable = "unavailable",
        /// The git repository is on another host, which does not answer here; ask that host.
        WrongHost = "wrong-host",
        /// The store has no space left.
        StorageFull = "storage-full",
        /// The object store does not answer; try again after `Retry-After`.
        StorageUnavailable = "storage-unavailable",
    }
}

impl ProblemCode {
    /// The status of the reply.
    pub(in crate::rest) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::TokenInUrl | Self::MissingParameters => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::InvalidToken | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::AlreadyExists | Self::Conflict => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge | Self::LogFull => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Invalid | Self::TooMany | Self::InvalidArchive | Self::IdempotencyKeyReused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Starting | Self::Unavailable | Self::WrongHost | Self::StorageUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}
