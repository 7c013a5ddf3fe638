//! The `record!` macro: a wire struct that reads and writes itself in one pass and carries what it does not know.
//!
//! serde's own `flatten` would do the same by buffering every field first, and would lose the place of an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

/// Fields that this version does not know, kept in their order. One word when empty.
#[derive(Clone, Default, PartialEq)]
pub struct Extra(Option<Box<Map<String, Value>>>);

impl Extra {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_deref().and_then(|map| map.get(name))
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.as_deref_mut().and_then(|map| map.get_mut(name))
    }

    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.0.get_or_insert_default().insert(name.into(), value);
    }

    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let map = self.0.as_deref_mut()?;
        let value = map.shift_remove(name);
        if map.is_empty() {
            self.0 = None;
        }
        value
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().flat_map(|map| map.iter())
    }

    /// Takes over every field of `other`; its values win.
    pub fn merge(&mut self, other: Extra) {
        let Some(other) = other.0 else { return };
        match &mut self.0 {
            Some(mine) => mine.extend(*other),
            empty => *empty = Some(other),
        }
    }

    /// Writes the fields of which `is_wanted` says so.
    pub(crate) fn write<M: SerializeMap>(&self, map: &mut M, is_wanted: impl Fn(&str) -> bool) -> Result<(), M::Error> {
        self.iter().filter(|(name, _)| is_wanted(name)).try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl From<Map<String, Value>> for Extra {
    fn from(map: Map<String, Value>) -> Self {
        Self((!map.is_empty()).then(|| Box::new(map)))
    }
}

/// A JSON object's key, borrowed from the input where it has no escapes.
pub(crate) struct Key<'de>(Cow<'de, str>);

impl Key<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Whether a field is worth writing: absent options and empty lists are left out.
pub(crate) trait Presence {
    fn is_present(&self) -> bool {
        true
    }
}

impl<T> Presence for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
}

impl<T> Presence for Vec<T> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
}

macro_rules! always_present {
    ($($ty:ty),*) => { $(impl Presence for $ty {})* };
}
always_present!(String, bool, u32, u64, i64, f64, super::Str, super::Role, super::FinishReason, Value);

/// Declares a wire struct. `= always` writes a field even when it is `None` or empty; `as "name"` after the struct writes a constant
/// `object`, and after a field is its name in JSON, where that is not its own (or `type`, for `kind`).
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(as $object:literal)? {
            $( $(#[$field_meta:meta])* pub $field:ident $(as $wire:literal)? : $ty:ty $(= $always:ident)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        #[cfg_attr(feature = "uniffi", derive(uniffi::Record))]
        pub struct $name {
            $( $(#[$field_meta])* #[cfg_attr(feature = "uniffi", uniffi(default))] pub $field: $ty, )*
            /// Fields that this version does not know, carried unchanged.
            #[cfg_attr(feature = "uniffi", uniffi(default))]
            pub extra: $crate::types::Extra,
        }

        $(impl $name {
            /// The constant `object` field of its JSON.
            pub const OBJECT: &'static str = $object;
        })?

        impl $name {
            /// Writes the fields of which `is_wanted` says so.
            pub(crate) fn write<M: serde::ser::SerializeMap>(
                &self,
                map: &mut M,
                is_wanted: impl Fn(&str) -> bool,
            ) -> Result<(), M::Error> {
                #[allow(unused_imports)]
                use $crate::types::record::Presence as _;
                $(
                    let name = record!(@name $field $($wire)?);
                    if record!(@present $(($always))? self.$field.is_present()) && is_wanted(name) {
                        map.serialize_entry(name, &self.$field)?;
                    }
                )*
                self.extra.write(map, is_wanted)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry("object", $object)?;)?
                self.write(&mut map, |_| true)?;
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut record = $name::default();
                        while let Some(key) = map.next_key::<$crate::types::Key<'de>>()? {
                            match key.as_str() {
                                $(record!(@name $field $($wire)?) => {
                                    record.$field = map
                                        .next_value::<Option<$ty>>()
                                        .map_err(|error| serde::de::Error::custom(format_args!("{}: {error}", record!(@name $field $($wire)?))))?
                                        .unwrap_or_default();
                                })*
                                $("object" => { let _ = $object; map.next_value::<serde::de::IgnoredAny>()?; })?
                                unknown => {
                                    let unknown = unknown.to_owned();
                                    record.extra.insert(unknown, map.next_value()?);
                                }
                            }
                        }
                        Ok(record)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
    (@present (always) $test:expr) => { true };
    (@present $test:expr) => { $test };
    (@name $field:ident $wire:literal) => { $wire };
    (@name kind) => { "type" };
    (@name $field:ident) => { stringify!($field) };
}

#[cfg(test)]
mod tests {
    use crate::types::{FailedRoute, ToolCall};

    #[test]
    fn a_kind_is_a_type_on_the_wire_unless_the_field_says_otherwise() {
        let route = FailedRoute { kind: "server".into(), ..FailedRoute::default() };
        let json = serde_json::to_value(&route).expect("JSON");
        assert_eq!(json["kind"], "server");
        assert_eq!(serde_json::from_value::<FailedRoute>(json).expect("a route"), route);
        let call = ToolCall { kind: Some("function".into()), ..ToolCall::default() };
        assert_eq!(serde_json::to_value(&call).expect("JSON")["type"], "function");
    }
}
