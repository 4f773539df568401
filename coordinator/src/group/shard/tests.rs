//! Exact effects of the group coordinator, case by case.

mod admin;
mod bench;
mod joining;
mod offsets;
mod rebalancing;
mod simulation;
mod statics;
