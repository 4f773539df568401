//! What every command gets: settings, output choices and consent.
//!
//! Owns: the connection to the cluster, the rule when a change needs a yes, and warnings to stderr.
//! Never: renders reports. Invariant: nothing is destroyed without `--yes` or an answer on a
//! terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::Args;

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Report, TableStyle};
use crate::position::Clock;
use crate::settings::Settings;

/// The options of commands that change something.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct DryRun {
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The options of commands that destroy something.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Danger {
    /// Show what would be destroyed, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) format: Format,
    pub(crate) style: TableStyle,
}

/// What the user says to a plan.
#[derive(Debug)]
pub(crate) enum Consent {
    Given,
    /// This report instead of the deed.
    Withheld(Box<Report>),
}

impl Context {
    pub(crate) async fn client(&self) -> Result<Arc<Client>, Failure> {
        let options = self.settings.client_options()?;
        Ok(Client::connect(options).await?)
    }

    pub(crate) fn clock() -> Clock {
        Clock::system()
    }

    /// Asks before `plan` is carried out. `question` names the deed, such as "Delete 2 topics".
    pub(crate) fn consent(&self, plan: Report, danger: Danger, question: &str) -> Consent {
        if danger.dry_run {
            return Consent::Withheld(Box::new(Report { dry_run: true, ..plan }));
        }
        if danger.yes {
            return Consent::Given;
        }
        let interactive = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !interactive {
            let failure = Failure::new(
                "CONSENT_NEEDED",
                format!("{question}: this cannot be undone and nobody can be asked here"),
                Exit::Usage,
            );
            let failure = failure.fix("repeat it with --yes, or look with --dry-run");
            return Consent::Withheld(Box::new(plan.with_errors(vec![failure])));
        }
        let mut err = std::io::stderr().lock();
        let table = plan.render(Format::Table, self.style);
        write!(err, "{table}{question}? This cannot be undone. [y/N] ").ok();
        err.flush().ok();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok();
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Consent::Given;
        }
        let failure = Failure::new("DECLINED", "nothing was changed", Exit::Usage);
        Consent::Withheld(Box::new(Report::failed(plan.command, failure)))
    }
}

/// A line on stderr that does not end the command.
pub(crate) fn warn(text: &str) {
    // Without a stderr there is nobody to warn.
    writeln!(std::io::stderr(), "warning: {text}").ok();
}
