//! Deleting topics.
//!
//! Owns: [`DeleteTopics`] with the rules of Kafka's `ControllerApis.deleteTopics`: by name, by id, and
//! what happens when both mean the same. Never: deletes files; that follows from the records.
//! Invariant: every name and id of the request is answered once.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::model::Uuid;

use super::decide::{Command, DecideContext, Decision};
use super::error::ControllerError;
use super::image::MetadataImage;
use super::record::MetadataRecord;

/// Deletes topics (DeleteTopics).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeleteTopics {
    pub topics: Vec<DoomedTopic>,
}

/// A topic by name or by id (KIP-516); nil stands for no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoomedTopic {
    pub name: Option<String>,
    pub id: Uuid,
}

impl DoomedTopic {
    pub fn by_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), id: Uuid::nil() }
    }

    #[must_use]
    pub const fn by_id(id: Uuid) -> Self {
        Self { name: None, id }
    }
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<String>,
    pub id: Uuid,
    pub result: Result<(), ControllerError>,
}

/// Results in the order: malformed, duplicates, unknown, deleted; Kafka shuffles them.
pub type DeleteTopicsReply = Vec<DeletedTopic>;

impl Command for DeleteTopics {
    type Reply = DeleteTopicsReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<DeleteTopicsReply> {
        if !context.settings.delete_topic_enable {
            let disabled = Err(ControllerError::TopicDeletionDisabled);
            return Decision::answer(
                self.topics
                    .into_iter()
                    .map(|topic| DeletedTopic {
                        name: topic.name,
                        id: topic.id,
                        result: disabled.clone(),
                    })
                    .collect(),
            );
        }
        let mut reply = DeleteTopicsReply::new();
        let wanted = Wanted::of(self.topics, &mut reply);
        let doomed = wanted.resolve(image, &mut reply);
        let mut records = Vec::with_capacity(doomed.len());
        for (id, name) in doomed {
            records.push(MetadataRecord::TopicRemoved { id });
            reply.push(DeletedTopic { name: Some(name), id, result: Ok(()) });
        }
        Decision { records, reply }
    }
}

fn refuse(reply: &mut DeleteTopicsReply, name: Option<String>, id: Uuid, why: ControllerError) {
    reply.push(DeletedTopic { name, id, result: Err(why) });
}

/// Names and ids that stand exactly once.
struct Wanted {
    names: BTreeSet<String>,
    ids: BTreeSet<Uuid>,
    duplicate_ids: BTreeSet<Uuid>,
}

impl Wanted {
    fn of(topics: Vec<DoomedTopic>, reply: &mut DeleteTopicsReply) -> Self {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut ids: BTreeMap<Uuid, usize> = BTreeMap::new();
        for DoomedTopic { name, id } in topics {
            match name {
                None if id.is_nil() => {
                    refuse(reply, None, id, ControllerError::NeitherNameNorId);
                }
                None => *ids.entry(id).or_default() += 1,
                Some(name) if id.is_nil() => *names.entry(name).or_default() += 1,
                Some(name) => refuse(reply, Some(name), id, ControllerError::NameAndId),
            }
        }
        for (name, _) in names.iter().filter(|(_, count)| **count > 1) {
            let why = ControllerError::DuplicateTopicName;
            refuse(reply, Some(name.clone()), Uuid::nil(), why);
        }
        let duplicate_ids: BTreeSet<Uuid> =
            ids.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect();
        for id in &duplicate_ids {
            refuse(reply, None, *id, ControllerError::DuplicateTopicId);
        }
        Self {
            names: names.into_iter().filter_map(|(n, count)| (count == 1).then_some(n)).collect(),
            ids: ids.into_iter().filter_map(|(id, count)| (count == 1).then_some(id)).collect(),
            duplicate_ids,
        }
    }

    /// The topics to delete, by id.
    fn resolve(
        mut self,
        image: &MetadataImage,
        reply: &mut DeleteTopicsReply,
    ) -> BTreeMap<Uuid, String> {
        let mut doomed = BTreeMap::new();
        for id in self.ids {
            match image.topic_name(id) {
                Some(name) => {
                    doomed.insert(id, name.to_string());
                }
                None => refuse(reply, None, id, ControllerError::UnknownTopicId),
            }
        }
        for name in self.names {
            let Some(topic) = image.topic(&name) else {
                refuse(reply, Some(name), Uuid::nil(), ControllerError::UnknownTopic);
                continue;
            };
            let id = topic.id;
            if self.duplicate_ids.contains(&id) || doomed.insert(id, name.clone()).is_some() {
                self.duplicate_ids.insert(id);
                doomed.remove(&id);
                refuse(reply, Some(name), id, ControllerError::NameOfSuppliedId);
            }
        }
        doomed
    }
}

#[cfg(test)]
mod tests;
