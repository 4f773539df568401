//! `ottla broker`: what single brokers offer.
//!
//! Owns: `broker apis`. Never: changes anything.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::connection::{Connection, api_name};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::rows;
use crate::select::item_failure;

#[derive(Subcommand, Debug)]
pub(crate) enum BrokerCommand {
    /// List the APIs of each broker with their versions
    Apis(ApisArgs),
}

const COLUMNS: &[Column] = &[
    Column::number("BROKER", "broker"),
    Column::number("KEY", "key"),
    Column::text("API", "api"),
    Column::number("MIN", "min"),
    Column::number("MAX", "max"),
];

const FEATURES: &[Column] = &[
    Column::number("BROKER", "broker"),
    Column::text("FEATURE", "feature"),
    Column::number("LEVEL", "level"),
    Column::number("MIN", "min"),
    Column::number("MAX", "max"),
];

#[derive(Args, Debug)]
pub(crate) struct ApisArgs {
    /// Only this broker
    #[arg(long)]
    broker: Option<i32>,
}

#[derive(Serialize, Debug)]
struct Item {
    broker: i32,
    key: i16,
    api: String,
    min: i16,
    max: i16,
}

#[derive(Serialize, Debug)]
struct Feature {
    broker: i32,
    feature: String,
    /// `None`: not finalized.
    level: Option<i16>,
    min: i16,
    max: i16,
}

impl BrokerCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Apis(_) => "broker apis",
        }
    }

    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Apis(_) => COLUMNS,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Apis(args) => apis(context, args).await,
        }
    }
}

async fn apis(context: &Context, args: &ApisArgs) -> Result<Report, Failure> {
    let client = context.client().await?;
    let view = client.metadata(Some(&[])).await?;
    let (mut items, mut features, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let wanted = view.brokers.iter().filter(|b| args.broker.is_none_or(|id| id == b.id));
    let mut any = false;
    for broker in wanted {
        any = true;
        match client.open(&broker.address()).await {
            Ok(connection) => read(broker.id, &connection, &mut items, &mut features),
            Err(error) => failures.push(item_failure(&format!("broker {}", broker.id), error)),
        }
    }
    if let (Some(id), false) = (args.broker, any) {
        let message = "there is no such broker";
        failures.push(Failure::item(format!("broker {id}"), "BROKER_NOT_AVAILABLE", message));
    }
    let report = Report::table("broker apis", COLUMNS, rows::all(&items));
    Ok(report.with_view("Features", FEATURES, rows::all(&features)).with_errors(failures))
}

fn read(id: i32, connection: &Connection, items: &mut Vec<Item>, features: &mut Vec<Feature>) {
    let answer = connection.api_versions();
    let mut apis: Vec<Item> = answer
        .api_keys
        .iter()
        .map(|api| Item {
            broker: id,
            key: api.api_key,
            api: api_name(api.api_key),
            min: api.min_version,
            max: api.max_version,
        })
        .collect();
    apis.sort_by_key(|item| item.key);
    items.append(&mut apis);
    let mut supported: Vec<Feature> = answer
        .supported_features
        .iter()
        .map(|feature| Feature {
            broker: id,
            feature: feature.name.to_string(),
            level: answer
                .finalized_features
                .iter()
                .find(|finalized| finalized.name == feature.name)
                .map(|finalized| finalized.max_version_level),
            min: feature.min_version,
            max: feature.max_version,
        })
        .collect();
    supported.sort_by(|left, right| left.feature.cmp(&right.feature));
    features.append(&mut supported);
}
