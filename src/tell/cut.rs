//! JSON that can be cut to a size: lists lose items at their end, long texts their end, and `More`
//! beside a list says how many items it lacks.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::Value;

/// A text of so many characters is never shortened: ids, ARNs, tags and descriptions are not
/// longer.
const TEXT_CHARS_MIN: usize = 256;

/// An item of a list is not cut below so many bytes; a list loses items instead.
const ITEM_BYTES_MIN: usize = 512;

/// The mark at the end of a shortened text.
const ELLIPSIS: char = '…';

/// The key that says how many items the lists beside it lack.
pub(super) const MORE: &str = "More";

/// The most digits of a number below `More`, for the room that it takes.
const LACKING_DIGITS_MAX: usize = 7;

/// A piece of JSON. Objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    /// A number, a truth value or null.
    Plain(Value),
    Text(Cow<'a, str>),
    /// A list, and how many items it lacks.
    List(Vec<Node<'a>>, usize),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Plain(Value::Null), Self::text)
    }

    /// A list of no more items than a place of `room` bytes can hold, if long texts are shortened.
    pub(super) fn list<T>(
        items: impl ExactSizeIterator<Item = T>,
        room: usize,
        mut node: impl FnMut(T) -> Self,
    ) -> Self {
        let count = items.len();
        let mut nodes = Vec::new();
        let mut bytes = 0;
        for item in items {
            if bytes > room {
                break;
            }
            let node = node(item);
            bytes += node.bytes().min(ITEM_BYTES_MIN) + 1;
            nodes.push(node);
        }
        let lacking = count - nodes.len();
        Self::List(nodes, lacking)
    }

    pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Object(
            fields
                .into_iter()
                .map(|(key, node)| (key.into(), node))
                .collect(),
        )
    }

    /// The bytes of its JSON.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Plain(value) => value.to_string().len(),
            Self::Text(text) => text_bytes(text),
            Self::List(items, _) => {
                2 + items.iter().map(Self::bytes).sum::<usize>() + items.len().saturating_sub(1)
            }
            Self::Object(fields) => {
                let own: usize = fields
                    .iter()
                    .map(|(key, node)| field_bytes(key, node))
                    .sum();
                let more: usize = lacking(fields)
                    .map(|(key, count)| more_bytes(key, count))
                    .sum();
                let more_object = if more > 0 {
                    text_bytes(MORE) + 3 + more
                } else {
                    0
                };
                2 + own.saturating_sub(1) + more_object
            }
        }
    }

    /// Cuts it to so many bytes. Every list keeps its first item, and every text its beginning,
    /// even if the whole stays larger for that.
    pub(super) fn cut_to(&mut self, bytes_max: usize) {
        if self.bytes() <= bytes_max {
            return;
        }
        match self {
            Self::Plain(_) => {}
            Self::Text(text) => {
                if let Cow::Owned(shorter) = shortened(text, bytes_max) {
                    *text = Cow::Owned(shorter);
                }
            }
            Self::List(items, lacking) => *lacking += cut_items(items, bytes_max),
            Self::Object(fields) => cut_fields(fields, bytes_max),
        }
    }

    /// Whether cutting can make it smaller.
    fn is_cuttable(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Text(text) => text.chars().nth(TEXT_CHARS_MIN).is_some(),
            Self::List(..) | Self::Object(_) => true,
        }
    }

    pub(super) fn to_json(&self) -> String {
        // Strings, numbers and string keys: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The largest size for each of these so that all of them together fit: small ones leave their room
/// to large ones. `usize::MAX` if they fit as they are.
pub(super) fn share(sizes: &[usize], room: usize) -> usize {
    let mut ascending = sizes.to_vec();
    ascending.sort_unstable();
    let mut room = room;
    for (place, size) in ascending.iter().enumerate() {
        let share = room / (ascending.len() - place);
        if *size > share {
            return share;
        }
        room -= size;
    }
    usize::MAX
}

/// The text, shortened to a JSON string of so many bytes if it is longer, but not below
/// [`TEXT_CHARS_MIN`].
pub(super) fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text_bytes(text) <= bytes_max {
        return text.into();
    }
    let mut bytes = 2 + ELLIPSIS.len_utf8();
    for (count, (place, character)) in text.char_indices().enumerate() {
        bytes += character_bytes(character);
        if count >= TEXT_CHARS_MIN && bytes > bytes_max {
            let kept = text.get(..place).unwrap_or_default();
            return format!("{kept}{ELLIPSIS}").into();
        }
    }
    text.into()
}

/// Cuts the items of a list, and drops from the end as many as have no room. Returns their number.
fn cut_items(items: &mut Vec<Node<'_>>, bytes_max: usize) -> usize {
    let sizes: Vec<usize> = items.iter().map(Node::bytes).collect();
    let item_bytes_max =
        share(&sizes, bytes_max.saturating_sub(2 + items.len())).max(ITEM_BYTES_MIN);
    let mut bytes = 2;
    let mut kept = 0;
    for item in &mut *items {
        item.cut_to(item_bytes_max);
        bytes += item.bytes() + 1;
        if kept > 0 && bytes > bytes_max {
            break;
        }
        kept += 1;
    }
    let dropped = items.len() - kept;
    items.truncate(kept);
    dropped
}

/// Cuts the fields of an object: first texts and objects, which have a size below which they are
/// not cut, then lists to the room that is left.
fn cut_fields(fields: &mut [(Cow<'_, str>, Node<'_>)], bytes_max: usize) {
    let mut more = text_bytes(MORE) + 4;
    for (key, node) in &*fields {
        if matches!(node, Node::List(items, _) if items.len() > 1) {
            more += text_bytes(key) + 2 + LACKING_DIGITS_MAX;
        }
    }
    for only_lists in [false, true] {
        let mut fixed = 2 + more;
        let mut sizes = Vec::new();
        for (key, node) in &*fields {
            let is_list = matches!(node, Node::List(..));
            let bytes = node.bytes();
            fixed += text_bytes(key) + 2;
            if is_list || (!only_lists && node.is_cuttable()) {
                sizes.push(bytes);
            } else {
                fixed += bytes;
            }
        }
        let share = share(&sizes, bytes_max.saturating_sub(fixed));
        for (_, node) in &mut *fields {
            if matches!(node, Node::List(..)) == only_lists {
                node.cut_to(share);
            }
        }
    }
}

/// The lists among the fields that lack items.
fn lacking<'n>(
    fields: &'n [(Cow<'_, str>, Node<'_>)],
) -> impl Iterator<Item = (&'n str, usize)> + Clone {
    fields.iter().filter_map(|(key, node)| match node {
        Node::List(_, lacking @ 1..) => Some((&**key, *lacking)),
        _ => None,
    })
}

/// The bytes of a field of an object, with its comma.
fn field_bytes(key: &str, node: &Node<'_>) -> usize {
    text_bytes(key) + 1 + node.bytes() + 1
}

/// The bytes of a field of `More`, with its comma.
fn more_bytes(key: &str, count: usize) -> usize {
    text_bytes(key) + 1 + count.to_string().len() + 1
}

/// The bytes of a JSON string, quotes and escapes included.
fn text_bytes(text: &str) -> usize {
    // Escapes are rare, and looking for them is much faster than adding up.
    let is_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let escaped = text.bytes().filter(|byte| is_escaped(*byte)).count();
    if escaped == 0 {
        return 2 + text.len();
    }
    2 + text.bytes().map(byte_bytes).sum::<usize>()
}

/// The bytes of a character within a JSON string.
fn character_bytes(character: char) -> usize {
    if character.is_ascii() {
        byte_bytes(character as u8)
    } else {
        character.len_utf8()
    }
}

/// The bytes of a byte of UTF-8 within a JSON string, as `serde_json` escapes it: no more than JSON
/// demands (RFC 8259, section 7).
fn byte_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items, _) => serializer.collect_seq(items),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, node) in fields {
                    map.serialize_entry(key, node)?;
                }
                let lacking = lacking(fields);
                if lacking.clone().next().is_some() {
                    map.serialize_entry(MORE, &Lacking(lacking))?;
                }
                map.end()
            }
        }
    }
}

struct Lacking<I>(I);

impl<'a, I: Iterator<Item = (&'a str, usize)> + Clone> Serialize for Lacking<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Node<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes, 0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut nodes: Vec<(Cow<'static, str>, Node<'static>)> = Vec::new();
        while let Some((key, node)) = fields.next_entry::<String, Node<'static>>()? {
            // `More` follows the lists that it is about, as written above.
            if key != MORE || !take_lacking(&mut nodes, &node) {
                nodes.push((key.into(), node));
            }
        }
        Ok(Node::Object(nodes))
    }
}

/// Notes what a read `More` says at the lists themselves; `false` if it is not about them.
fn take_lacking(fields: &mut [(Cow<'_, str>, Node<'_>)], more: &Node<'_>) -> bool {
    let Node::Object(counts) = more else {
        return false;
    };
    for (name, count) in counts {
        let list = fields.iter_mut().find(|(key, _)| key == name);
        let (Some((_, Node::List(_, lacking))), Node::Plain(count)) = (list, count) else {
            return false;
        };
        let Some(count) = count.as_u64() else {
            return false;
        };
        *lacking = usize::try_from(count).unwrap_or(usize::MAX);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: &Value) -> Node<'static> {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    fn parsed(node: &Node<'_>) -> Value {
        serde_json::from_str(&node.to_json()).unwrap()
    }

    #[test]
    fn the_size_of_a_node_is_the_size_of_its_json() {
        let odd = "a \"quoted\" \\ line\n\r\t\u{8}\u{c}\u{1}\u{7f} ünïcode 𝄞";
        for value in [
            serde_json::json!(null),
            serde_json::json!([true, false, 1, -1, 1.5, odd, [], {}, [1, 2]]),
            serde_json::json!({ odd: odd, "a": {}, "b": [odd], "c": { "d": null } }),
        ] {
            let node = node(&value);
            assert_eq!(node.bytes(), node.to_json().len(), "{value}");
            assert_eq!(parsed(&node), value);
        }
        let lacking = Node::object([
            ("A", Node::List(vec![Node::text("x")], 1234)),
            ("B", Node::List(Vec::new(), 1)),
            ("C", Node::List(Vec::new(), 0)),
        ]);
        let json = r#"{"A":["x"],"B":[],"C":[],"More":{"A":1234,"B":1}}"#;
        assert_eq!(
            (lacking.to_json().as_str(), lacking.bytes()),
            (json, json.len())
        );
        assert_eq!(serde_json::from_str::<Node<'_>>(json).unwrap(), lacking);
    }

    #[test]
    fn a_more_that_is_not_about_lists_is_a_field_like_any_other() {
        for value in [
            serde_json::json!({ "More": 1 }),
            serde_json::json!({ "A": 1, "More": { "A": 1 } }),
            serde_json::json!({ "A": [], "More": { "A": "x" } }),
        ] {
            assert_eq!(parsed(&node(&value)), value);
        }
    }

    #[test]
    fn what_fits_is_not_cut() {
        let value = serde_json::json!({ "A": ["x".repeat(300), "y"], "B": "z".repeat(300) });
        let mut node = node(&value);
        node.cut_to(node.bytes());
        assert_eq!(parsed(&node), value);
    }

    #[test]
    fn lists_share_the_room_and_say_what_they_lack() {
        let items: Vec<String> = (0..100).map(|number| format!("{number:012}")).collect();
        let value = serde_json::json!({ "Few": ["a", "b"], "Many": items, "Others": items });
        for bytes_max in [200, 500, 1000, 2000, 3000] {
            let mut cut = node(&value);
            cut.cut_to(bytes_max);
            assert!(cut.bytes() <= bytes_max, "{} > {bytes_max}", cut.bytes());
            assert!(
                cut.bytes() > bytes_max - 64,
                "{} of {bytes_max} used",
                cut.bytes()
            );
            let cut = parsed(&cut);
            assert_eq!(cut["Few"], serde_json::json!(["a", "b"]));
            assert_eq!(cut["More"].get("Few"), None);
            for list in ["Many", "Others"] {
                let kept = cut[list].as_array().unwrap();
                assert_eq!(kept[..], value[list].as_array().unwrap()[..kept.len()]);
                assert_eq!(kept.len() as u64 + cut["More"][list].as_u64().unwrap(), 100);
            }
        }
    }

    #[test]
    fn cut_again_it_says_what_it_lacks_of_the_first() {
        let items: Vec<u32> = (0..1000).collect();
        let mut cut = node(&serde_json::json!({ "A": items }));
        cut.cut_to(2000);
        let mut again: Node<'_> = serde_json::from_str(&cut.to_json()).unwrap();
        again.cut_to(500);
        let value = parsed(&again);
        let kept = value["A"].as_array().unwrap().len();
        assert!(kept > 50, "{kept}");
        assert_eq!(value["More"]["A"], 1000 - kept);
        assert!(again.bytes() <= 500);
    }

    #[test]
    fn a_long_text_keeps_its_beginning() {
        for text in ["x".repeat(5000), "\u{1}".repeat(5000), "𝄞".repeat(5000)] {
            let short = shortened(&text, 3000);
            assert!(text_bytes(&short) <= 3000, "{}", text_bytes(&short));
            assert!(text_bytes(&short) > 2990, "{}", text_bytes(&short));
            let kept = short.strip_suffix(ELLIPSIS).unwrap();
            assert!(text.starts_with(kept));
            assert_eq!(shortened(&text, 10).chars().count(), TEXT_CHARS_MIN + 1);
        }
        let tag = "𝄞".repeat(TEXT_CHARS_MIN);
        assert_eq!(shortened(&tag, 10), tag);
    }

    #[test]
    fn long_texts_in_a_list_are_shortened_before_items_are_dropped() {
        let value = serde_json::json!({ "A": ["x".repeat(9000), "y".repeat(9000), "z"] });
        let mut cut = node(&value);
        cut.cut_to(4000);
        assert!(cut.bytes() <= 4000);
        let cut = parsed(&cut);
        assert_eq!(cut["A"].as_array().unwrap().len(), 3);
        assert_eq!(cut.get("More"), None);
    }

    #[test]
    fn every_list_keeps_its_first_item() {
        let mut cut = node(&serde_json::json!({ "A": [{ "B": [1, 2], "C": [3, 4] }, 5] }));
        cut.cut_to(0);
        let json = r#"{"A":[{"B":[1,2],"C":[3,4]}],"More":{"A":1}}"#;
        assert_eq!(cut.to_json(), json);
    }

    #[test]
    fn a_list_is_built_only_as_far_as_there_is_room() {
        let mut built = 0;
        let list = Node::list(0..1_000_000, 1000, |number: i32| {
            built += 1;
            Node::Plain(number.into())
        });
        assert!(built < 1000, "{built}");
        assert_eq!(list.bytes(), list.to_json().len());
        assert!(matches!(list, Node::List(items, lacking) if items.len() + lacking == 1_000_000));
    }

    #[test]
    fn small_ones_leave_their_room_to_large_ones() {
        assert_eq!(share(&[10, 20, 30], 60), usize::MAX);
        assert_eq!(share(&[100, 10, 100], 110), 50);
        assert_eq!(share(&[100, 100], 0), 0);
        assert_eq!(share(&[], 0), usize::MAX);
    }
}
