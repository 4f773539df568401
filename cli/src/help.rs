//! `ottla help`: texts of commands, the settings, and the whole tree as JSON.
//!
//! Owns: the JSON of the tree. Never: texts of its own (they stand at the arguments).

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::args::{Cli, HelpArgs};
use crate::failure::Failure;
use crate::{settings, suggest};

/// What `help` prints.
pub(crate) fn run(args: &HelpArgs) -> Result<String, Failure> {
    let mut root = Cli::command();
    root.build();
    if args.json {
        let tree = json!({ "schema": 1, "command": "help", "items": [tree(&root)], "errors": [] });
        return Ok(format!("{tree:#}\n"));
    }
    if args.command.first().is_some_and(|first| first == "settings") {
        return Ok(format!(
            "Client settings for -X KEY=VALUE, --command-config and OTTLA_KEY_NAME:\n{}",
            settings::documentation()
        ));
    }
    let mut command = &mut root;
    for name in &args.command {
        let known: Vec<String> = command
            .get_subcommands()
            .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_all_aliases()))
            .map(str::to_owned)
            .collect();
        command = command.find_subcommand_mut(name).ok_or_else(|| {
            let failure = Failure::usage(format!("there is no command \"{name}\""));
            match suggest::sentence(name, known.iter().map(String::as_str)) {
                Some(hint) => failure.fix(hint),
                None => failure.fix("`ottla help` lists the commands"),
            }
        })?;
    }
    Ok(command.render_long_help().to_string())
}

fn tree(command: &clap::Command) -> Value {
    let arguments: Vec<Value> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .map(|argument| {
            json!({
                "name": argument.get_id().as_str(),
                "long": argument.get_long(),
                "short": argument.get_short(),
                "positional": argument.is_positional(),
                "required": argument.is_required_set(),
                "takes_value": argument.get_action().takes_values(),
                "global": argument.is_global_set(),
                "values": argument
                    .get_possible_values()
                    .iter()
                    .map(|value| value.get_name().to_owned())
                    .collect::<Vec<String>>(),
                "help": argument.get_help().map(ToString::to_string),
            })
        })
        .collect();
    json!({
        "name": command.get_name(),
        "aliases": command.get_all_aliases().collect::<Vec<&str>>(),
        "about": command.get_about().map(ToString::to_string),
        "arguments": arguments,
        "commands": command.get_subcommands().map(tree).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_has_every_level() {
        let text = run(&HelpArgs { command: Vec::new(), json: true }).expect("a tree");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let commands = document["items"][0]["commands"].as_array().expect("commands");
        let topic = commands.iter().find(|command| command["name"] == "topic").expect("topic");
        assert!(topic["commands"].as_array().is_some_and(|verbs| verbs.len() >= 9));
        let wrong = HelpArgs { command: vec!["topik".to_owned()], json: false };
        let failure = run(&wrong).expect_err("unknown");
        assert_eq!(failure.fix.as_deref(), Some("did you mean \"topic\"?"));
    }
}
