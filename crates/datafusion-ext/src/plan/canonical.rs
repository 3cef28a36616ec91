//! Messages as bytes that depend on their content alone.
//!
//! Maps are written in the order of a hash table, which differs from one to the next. Their entries have the
//! same length in any order, so that they can be sorted where they stand.

use std::collections::HashSet;

use datafusion::arrow::datatypes::Schema;
use prost::Message;
use prost::encoding::decode_varint;

/// What the tag of a field with a length ends with, and the bits that tell.
const LENGTH_DELIMITED: (u8, u8) = (2, 0b1000_0111);
const KEY: u8 = 0x0A;
const VALUE: u8 = 0x12;

/// The keys of the maps that a message holds.
pub type Keys = HashSet<String>;

/// Note the keys that the metadata of a schema's fields have.
pub fn add_keys(keys: &mut Keys, schema: &Schema) {
    keys.extend(schema.metadata().keys().cloned());
    for field in schema.flattened_fields() {
        keys.extend(field.metadata().keys().cloned());
    }
}

/// The bytes of a message whose maps of texts have no other keys.
pub fn canonical<M: Message + Default + PartialEq>(message: &M, keys: &Keys) -> Vec<u8> {
    let written = message.encode_to_vec();
    let sorted = with_sorted_maps(&written, keys);
    // A text of a query may look like a map.
    match sorted == written || M::decode(sorted.as_slice()).is_ok_and(|read| read == *message) {
        true => sorted,
        false => written,
    }
}

fn with_sorted_maps(bytes: &[u8], keys: &Keys) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(bytes.len());
    while let Some(byte) = bytes.get(sorted.len()) {
        let mut entries = entries(&bytes[sorted.len()..], keys);
        entries.sort_unstable();
        match entries.is_empty() {
            true => sorted.push(*byte),
            false => sorted.extend(entries.concat()),
        }
    }
    sorted
}

/// The entries of one map that bytes start with.
fn entries<'a>(bytes: &'a [u8], keys: &Keys) -> Vec<&'a [u8]> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while rest.first() == bytes.first()
        && let Some(size) = entry_size(rest, keys)
    {
        let (entry, after) = rest.split_at(size);
        found.push(entry);
        rest = after;
    }
    found
}

/// How many bytes the entry takes that bytes start with, if they do.
fn entry_size(bytes: &[u8], keys: &Keys) -> Option<usize> {
    let (kind, bits) = LENGTH_DELIMITED;
    let (_, rest) = bytes.split_first().filter(|(tag, _)| **tag & bits == kind)?;
    let (content, after) = sized(rest)?;
    let (key, value) = sized(content.strip_prefix(&[KEY])?)?;
    let is_whole = value.is_empty() || sized(value.strip_prefix(&[VALUE])?)?.1.is_empty();
    let is_known = str::from_utf8(key).is_ok_and(|key| keys.contains(key));
    (is_whole && is_known).then_some(bytes.len() - after.len())
}

/// Split off what follows its own length.
fn sized(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let size = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
    bytes.split_at_checked(size)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion_proto::generated::datafusion_common::Schema as SchemaNode;

    use super::*;

    fn schema(count: usize) -> Schema {
        let metadata =
            || (0..count).map(|at| (format!("key {at}"), "v".repeat(at * 40))).collect::<HashMap<_, _>>();
        let inner = Field::new("inner", DataType::Int32, true).with_metadata(metadata());
        let outer = Field::new("outer", DataType::Struct(vec![inner].into()), true).with_metadata(metadata());
        Schema::new_with_metadata(vec![outer], metadata())
    }

    fn bytes(schema: &Schema) -> Vec<u8> {
        let mut keys = Keys::new();
        add_keys(&mut keys, schema);
        canonical(&SchemaNode::try_from(schema).unwrap(), &keys)
    }

    #[test]
    fn equal_messages_give_equal_bytes() {
        for count in [0, 1, 2, 7] {
            let first = bytes(&schema(count));
            for _ in 0..20 {
                assert_eq!(bytes(&schema(count)), first);
            }
            let read = SchemaNode::decode(first.as_slice()).unwrap();
            assert_eq!(Schema::try_from(&read).unwrap(), schema(count));
        }
    }

    #[test]
    fn a_text_that_looks_like_a_map_stays() {
        let entries = SchemaNode::try_from(&schema(3)).unwrap().encode_to_vec();
        let text: String = entries.iter().map(|byte| char::from(byte & 0x7F)).collect();
        let field = Field::new(text, DataType::Int32, true);
        let schema = Schema::new_with_metadata(vec![field], schema(3).metadata().clone());
        let read = SchemaNode::decode(bytes(&schema).as_slice()).unwrap();
        assert_eq!(Schema::try_from(&read).unwrap(), schema);
    }
}
