//! The exit codes of every command, as scripts may rely on them.
//!
//! Owns: the numbers. Never: decides which one a command deserves. Invariant: the numbers are a
//! public promise and never change.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Exit {
    #[default]
    Ok,
    /// At least one item failed; each failure is listed.
    ItemFailed,
    /// The command line or a setting is wrong, or a needed consent is missing.
    Usage,
    /// A check ran and said no (`cluster health`, `group lag --max`, `config check`).
    ConditionNotMet,
    /// The cluster cannot be reached or did not answer in time.
    Unreachable,
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::ItemFailed => 1,
            Self::Usage => 2,
            Self::ConditionNotMet => 3,
            Self::Unreachable => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
