//! Which topics, partitions and groups a command line means.
//!
//! Owns: globs, `topic:partitions` lists and the "no such topic" failure with its suggestion.
//! Never: changes anything. Invariant: what is not found becomes one failure per name.

use std::collections::BTreeSet;

use ottla_protocol::error_code::ErrorCode;

use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::metadata::{ClusterView, TopicView};
use crate::client::offsets::Partition;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::glob::Glob;
use crate::{suggest, units};

/// Topics that were found, and failures for those that were not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) view: ClusterView,
    pub(crate) topics: Vec<TopicView>,
    pub(crate) failures: Vec<Failure>,
}

/// Finds topics by name or glob; no name at all means every topic.
pub(crate) async fn topics(client: &Client, names: &[String]) -> Result<Selection, ClientError> {
    let patterns = names.is_empty() || names.iter().any(|name| Glob::is_pattern(name));
    if !patterns {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let view = client.metadata(Some(&asked)).await?;
        if view.topics.iter().all(|topic| topic.error.is_none()) {
            return Ok(choose(view, names));
        }
    }
    Ok(choose(client.metadata(None).await?, names))
}

/// The same on a view that is already there.
pub(crate) fn choose(view: ClusterView, names: &[String]) -> Selection {
    let mut chosen = BTreeSet::new();
    let mut failures = Vec::new();
    for name in names {
        let glob = Glob::is_pattern(name).then(|| Glob::new(name));
        let before = chosen.len();
        let matching = view.topics.iter().enumerate().filter(|(_, topic)| match &glob {
            Some(glob) => glob.matches(topic.name.as_bytes()),
            None => topic.name == *name && topic.error != ErrorCode::UnknownTopicOrPartition,
        });
        let found: Vec<usize> = matching.map(|(index, _)| index).collect();
        let none = found.is_empty();
        chosen.extend(found);
        if none && glob.is_none() && chosen.len() == before {
            failures.push(no_such_topic(name, &view));
        }
    }
    if names.is_empty() {
        chosen.extend(0..view.topics.len());
    }
    let topics = chosen.into_iter().map(|index| view.topics[index].clone()).collect();
    Selection { view, topics, failures }
}

pub(crate) fn no_such_topic(name: &str, view: &ClusterView) -> Failure {
    let failure = Failure::item(name, "UNKNOWN_TOPIC_OR_PARTITION", "there is no such topic");
    let names = view.topics.iter().filter(|topic| topic.error.is_none());
    match suggest::sentence(name, names.map(|topic| topic.name.as_str())) {
        Some(hint) => failure.fix(hint),
        None => failure.fix("`ottla topic list` shows what there is"),
    }
}

/// A topic and some of its partitions, from `topic` or `topic:0,2,5-7`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TopicPartitions {
    pub(crate) topic: String,
    /// Empty: all.
    pub(crate) partitions: Vec<i32>,
}

impl TopicPartitions {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let Some((topic, list)) = text.split_once(':') else {
            return Ok(Self { topic: text.to_owned(), partitions: Vec::new() });
        };
        Ok(Self { topic: topic.to_owned(), partitions: partition_list(list)? })
    }

    /// Reads what stands on a command line.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, Failure> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// Whether this topic is meant, by name or glob.
    fn names(&self, topic: &str) -> bool {
        if Glob::is_pattern(&self.topic) {
            return Glob::new(&self.topic).matches(topic.as_bytes());
        }
        self.topic == topic
    }

    /// The partitions of `topic` that are meant.
    pub(crate) fn within(&self, topic: &TopicView) -> Result<Vec<i32>, Failure> {
        if self.partitions.is_empty() {
            return Ok(topic.partitions.iter().map(|partition| partition.index).collect());
        }
        match self.partitions.iter().find(|index| topic.partition(**index).is_none()) {
            Some(missing) => Err(no_such_partition(topic, *missing)),
            None => Ok(self.partitions.clone()),
        }
    }
}

/// The partitions of `topic` that `wanted` means: all of them where it says nothing of this topic.
pub(crate) fn partitions_of(
    topic: &TopicView,
    wanted: &[TopicPartitions],
) -> Result<Vec<Partition>, Failure> {
    let everything = TopicPartitions { topic: topic.name.clone(), partitions: Vec::new() };
    let asked = wanted.iter().find(|wanted| wanted.names(&topic.name)).unwrap_or(&everything);
    let indexes = asked.within(topic)?;
    Ok(indexes.into_iter().map(|index| (topic.name.clone(), index)).collect())
}

/// The partitions that `wanted` means, of all topics that were found for it.
pub(crate) fn partitions(
    topics: &[TopicView],
    wanted: &[TopicPartitions],
) -> Result<Vec<Partition>, Failure> {
    let each: Vec<_> =
        topics.iter().map(|topic| partitions_of(topic, wanted)).collect::<Result<_, _>>()?;
    Ok(each.concat())
}

pub(crate) fn no_such_partition(topic: &TopicView, index: i32) -> Failure {
    Failure::item(
        format!("{}-{index}", topic.name),
        "UNKNOWN_TOPIC_OR_PARTITION",
        format!(
            "the topic has {}, counted from 0",
            units::count(topic.partitions.len(), "partition")
        ),
    )
}

/// Reads `0,2,5-7`.
pub(crate) fn partition_list(text: &str) -> Result<Vec<i32>, Failure> {
    let wrong = || Failure::usage(format!("\"{text}\" is no list of partitions: write 0,2,5-7"));
    let mut partitions = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: i32 = from.trim().parse().map_err(|_| wrong())?;
        let to: i32 = to.trim().parse().map_err(|_| wrong())?;
        if from < 0 || to < from || to - from > 100_000 {
            return Err(wrong());
        }
        partitions.extend(from..=to);
    }
    Ok(partitions.into_iter().collect())
}

/// The failure for a group that does not exist, with the nearest name.
pub(crate) fn no_such_group<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Failure {
    let failure = Failure::item(name, "GROUP_ID_NOT_FOUND", "there is no such group");
    match suggest::sentence(name, names) {
        Some(hint) => failure.fix(hint),
        None => failure.fix("`ottla group list` shows what there is"),
    }
}

/// A client error about one item: as [`Failure`], but it does not stop the other items.
pub(crate) fn item_failure(target: &str, error: ClientError) -> Failure {
    let failure = Failure::from(error);
    if failure.exit == Exit::ItemFailed && failure.target.is_empty() {
        return failure.about(target);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::metadata::PartitionView;

    fn view(names: &[&str]) -> ClusterView {
        let topic = |name: &&str| TopicView { name: (*name).to_owned(), ..TopicView::default() };
        ClusterView { topics: names.iter().map(topic).collect(), ..ClusterView::default() }
    }

    fn chosen(names: &[&str]) -> (Vec<String>, Vec<Failure>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = choose(view(&["a1", "a2", "orders"]), &names);
        (selection.topics.into_iter().map(|topic| topic.name).collect(), selection.failures)
    }

    #[test]
    fn names_and_globs_select_each_topic_once() {
        assert_eq!(chosen(&[]).0, ["a1", "a2", "orders"]);
        assert_eq!(chosen(&["a*", "a1"]).0, ["a1", "a2"]);
        assert!(chosen(&["b*"]).0.is_empty());
        let (found, failures) = chosen(&["order", "orders"]);
        assert_eq!(found, ["orders"]);
        assert_eq!(failures[0].fix.as_deref(), Some("did you mean \"orders\"?"));
    }

    #[test]
    fn partition_lists() {
        assert_eq!(partition_list("0,5-7,2").expect("list"), [0, 2, 5, 6, 7]);
        for wrong in ["", "a", "3-1", "-1", "0,"] {
            assert!(partition_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn partitions_of_topics_by_name_and_glob() {
        let topic = |name: &str| {
            let partition = |index| PartitionView { index, ..PartitionView::default() };
            let partitions = (0..3).map(partition).collect();
            TopicView { name: name.to_owned(), partitions, ..TopicView::default() }
        };
        let topics = [topic("a1"), topic("a2"), topic("b")];
        let chosen = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let wanted = TopicPartitions::parse_all(&texts).expect("parsed");
            partitions(&topics, &wanted).map(|all| {
                all.iter().map(|(topic, index)| format!("{topic}-{index}")).collect::<Vec<_>>()
            })
        };
        let found = chosen(&["a*:1", "b:0,2"]).expect("all exist");
        assert_eq!(found, ["a1-1", "a2-1", "b-0", "b-2"]);
        let failure = chosen(&["b:3"]).expect_err("no such partition");
        assert_eq!(failure.target, "b-3");
        let parsed = TopicPartitions::parse("t:1").expect("parsed");
        assert_eq!(parsed, TopicPartitions { topic: "t".to_owned(), partitions: vec![1] });
    }
}
