//! How the model's numbers and ids stand in the JSON of a metadata record.
//!
//! Owns: the mapping of model types to plain JSON, for `#[serde(with = "text")]`. Never: rules about
//! values. Invariant: an id that is not one of Kafka's texts is refused, not replaced.

use std::fmt;

use ottla_protocol::model::{
    LeaderEpoch, NodeId, PartitionId, ProducerId, TopicName, Uuid, kafka_uuid_text,
    parse_kafka_uuid,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A model type with a plain form.
pub(super) trait Plain: Sized {
    type Form: Serialize + for<'de> Deserialize<'de>;

    fn to_form(&self) -> Self::Form;

    fn from_form(form: Self::Form) -> Result<Self, NotAnId>;
}

/// The text is not 22 characters of URL-safe base64.
#[derive(Debug)]
pub(super) struct NotAnId(String);

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an id", self.0)
    }
}

macro_rules! plain_integer {
    ($($name:ident: $inner:ty),*) => {$(
        impl Plain for $name {
            type Form = $inner;

            fn to_form(&self) -> $inner {
                self.0
            }

            fn from_form(form: $inner) -> Result<Self, NotAnId> {
                Ok(Self(form))
            }
        }
    )*};
}

plain_integer!(NodeId: i32, PartitionId: i32, LeaderEpoch: i32, ProducerId: i64);

impl Plain for Uuid {
    type Form = String;

    fn to_form(&self) -> String {
        kafka_uuid_text(*self)
    }

    fn from_form(form: String) -> Result<Self, NotAnId> {
        parse_kafka_uuid(&form).ok_or(NotAnId(form))
    }
}

impl<T: Plain> Plain for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.iter().map(Plain::to_form).collect()
    }

    fn from_form(form: Self::Form) -> Result<Self, NotAnId> {
        form.into_iter().map(T::from_form).collect()
    }
}

impl<T: Plain> Plain for Option<T> {
    type Form = Option<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.as_ref().map(Plain::to_form)
    }

    fn from_form(form: Self::Form) -> Result<Self, NotAnId> {
        form.map(T::from_form).transpose()
    }
}

pub(super) fn serialize<T: Plain, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.to_form().serialize(to)
}

pub(super) fn deserialize<'de, T: Plain, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::from_form(T::Form::deserialize(from)?).map_err(D::Error::custom)
}

/// A topic's name as text.
pub(super) mod topic {
    use super::{Deserialize, Deserializer, Serializer, TopicName};

    pub(crate) fn serialize<S: Serializer>(name: &TopicName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TopicName, D::Error> {
        String::deserialize(from).map(Into::into)
    }
}
