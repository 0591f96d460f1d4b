//! The parts that several answers have.

use std::collections::BTreeSet;

use crate::state::grantee::Grantee;
use crate::wire::xml::Writer;

pub(crate) fn succeeded(out: &mut Writer) {
    out.flag("return", true);
}

/// A list of grantees under the name of the permission that they have.
pub(crate) fn write_grantees(w: &mut Writer, permission: &str, grantees: &BTreeSet<Grantee>) {
    w.items(permission, grantees, |w, grantee| {
        w.text(grantee.kind().element(), grantee.as_str());
    });
}

/// A code that is empty is left out, so that only its type is there.
pub(crate) fn write_product_codes(w: &mut Writer, codes: &[String]) {
    w.items("productCodes", codes, |w, code| {
        if !code.is_empty() {
            w.text("productCode", code);
        }
        w.text("type", "marketplace");
    });
}

/// No element at all where there are no tags.
pub(crate) fn write_tags<'a>(
    out: &mut Writer,
    tags: impl IntoIterator<Item = (&'a String, &'a String)> + Clone,
) {
    if tags.clone().into_iter().next().is_some() {
        out.items("tagSet", tags, |w, (key, value)| {
            w.text("key", key);
            w.text("value", value);
        });
    }
}
