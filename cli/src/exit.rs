//! How a command ends, as scripts see it.

/// The exit codes. A job's outcome is read from its final document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Done; where a job is followed: it succeeded.
    Done = 0,
    /// The job or the check ended badly.
    Failed = 1,
    /// The command line is wrong; nothing was sent.
    Usage = 2,
    /// The job was cancelled.
    Cancelled = 3,
    /// Not logged in, or not allowed.
    NotAllowed = 4,
    /// The server refused it.
    Refused = 5,
    /// The server could not be reached, or did not answer in time.
    Unreachable = 6,
    /// `--timeout` passed.
    TimedOut = 124,
    /// Ctrl-C.
    Interrupted = 130,
    /// Whoever reads standard output has ended: as the signal of it would end a program.
    Unread = 141,
}

impl Code {
    /// What the end of a job means.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "succeeded" => Self::Done,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    /// What the status of a reply means.
    pub(crate) fn of_reply(status: u16) -> Self {
        match status {
            401 | 403 => Self::NotAllowed,
            408 | 429 => Self::Unreachable,
            507 => Self::Refused,
            500.. => Self::Unreachable,
            _ => Self::Refused,
        }
    }

    /// Of two jobs the worse end.
    pub(crate) fn worse(self, other: Self) -> Self {
        let badness = |code: Self| match code {
            Self::Done => 0,
            Self::Cancelled => 1,
            Self::Failed => 2,
            Self::Usage
            | Self::NotAllowed
            | Self::Refused
            | Self::Unreachable
            | Self::TimedOut
            | Self::Interrupted
            | Self::Unread => 3,
        };
        if badness(other) > badness(self) { other } else { self }
    }
}

/// For `elita help exit-codes` and the manual.
pub(crate) const TABLE: &str = "  0  done; where a job is followed: it succeeded
  1  the job or the check ended badly: failed or lost
  2  wrong use of the command line; nothing was sent
  3  the job was cancelled
  4  not logged in, the token is no longer valid, or not allowed (401, 403)
  5  the server refused it (400, 404, 409, 412, 413, 415, 422, 507)
  6  the server could not be reached, or did not answer in time (no connection, 408, 429, 5xx)
124  --timeout passed; the job goes on, unless --cancel-on-timeout is given
130  Ctrl-C; the job goes on, unless --cancel-on-interrupt is given
141  the program that reads standard output has ended, such as head
";
