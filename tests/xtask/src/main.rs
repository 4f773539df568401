//! The repository's own tasks: `cargo xtask TASK`.
//!
//! Owns: finding the task by name. Never: does a task's work; each has a module.
//! Invariant: a task that fails says why on stderr and exits with 1.

mod shapes;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((task, args)) if task == "shapes" => shapes::run(args),
        Some((task, _)) => bail!("there is no task {task}; there is: shapes"),
        None => bail!("cargo xtask TASK; there is: shapes"),
    }
}
