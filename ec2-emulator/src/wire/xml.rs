//! Writing XML: every value escaped, any element leavable out.

use std::mem;

use crate::wire::spoil::{Spoil, Spoils, Verdict};

/// Builds one document, as odd as [`Spoils`] say, and keeps in mind which resources it is about.
pub(crate) struct Writer<'a> {
    out: String,
    spoils: &'a Spoils,
    /// What is spoilt about the resource that is being written.
    spoil: Option<&'a Spoil>,
    /// Which elements of it were replaced.
    replaced: Vec<String>,
    depth: usize,
    results: usize,
    resources: Vec<String>,
}

/// A document that is complete.
pub(crate) struct Written {
    pub(crate) text: String,
    /// The ids of all resources in it.
    pub(crate) resources: Vec<String>,
    /// How many of them are results, not parts of others.
    pub(crate) results: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(spoils: &'a Spoils) -> Self {
        Self {
            out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
            spoils,
            spoil: None,
            replaced: Vec::new(),
            depth: 0,
            results: 0,
            resources: Vec::new(),
        }
    }

    pub(crate) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element_with(name, "", content);
    }

    /// An element with attributes, given as they stand in the tag.
    pub(crate) fn element_with(
        &mut self,
        name: &str,
        attributes: &str,
        content: impl FnOnce(&mut Self),
    ) {
        let verdict = self.spoils.verdict(self.spoil, name);
        if matches!(verdict, Verdict::Omitted) {
            return;
        }
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(attributes);
        self.out.push('>');
        match verdict {
            Verdict::Replaced(text) => {
                escape_into(&mut self.out, text);
                self.replaced.push(name.to_owned());
            }
            _ => content(self),
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// The part of the document that is about one resource.
    pub(crate) fn resource(&mut self, id: &str, content: impl FnOnce(&mut Self)) {
        self.resources.push(id.to_owned());
        if self.depth == 0 {
            self.results += 1;
        }
        let own = self.spoils.of(id);
        let outer = self.spoil;
        self.spoil = own.or(outer);
        let replaced = mem::take(&mut self.replaced);
        self.depth += 1;
        content(self);
        self.depth -= 1;
        for (name, text) in own.iter().flat_map(|spoil| spoil.replaced()) {
            if !self.replaced.contains(name) {
                self.text(name, text);
            }
        }
        self.spoil = outer;
        self.replaced = replaced;
    }

    pub(crate) fn text(&mut self, name: &str, value: impl AsRef<str>) {
        self.element(name, |w| escape_into(&mut w.out, value.as_ref()));
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// Nothing at all when there is no value: EC2 leaves unset fields out.
    pub(crate) fn optional(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name><item>…</item>…</name>`; `<name></name>` when empty.
    pub(crate) fn items<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |w| {
            for item in items {
                w.element("item", |w| each(w, item));
            }
        });
    }

    pub(crate) fn finish(self) -> Written {
        Written {
            text: self.out,
            resources: self.resources,
            results: self.results,
        }
    }
}

fn escape_into(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", c as u32)),
            // XML 1.0 cannot hold other control characters, escaped or not.
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(spoils: &Spoils, write: impl FnOnce(&mut Writer)) -> String {
        let mut w = Writer::new(spoils);
        write(&mut w);
        let text = w.finish().text;
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn values_are_escaped() {
        let text = written(&Spoils::default(), |w| {
            w.text("value", "<a b=\"c\" d='e'> & \n\u{1}");
        });
        assert_eq!(
            text,
            "<value>&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt; &amp; &#10;\u{FFFD}</value>"
        );
    }

    #[test]
    fn an_omitted_element_goes_with_all_it_holds() {
        let mut spoils = Spoils::default();
        spoils.omit(None, vec!["ebs".to_owned()]);
        let text = written(&spoils, |w| {
            w.element("item", |w| {
                w.text("deviceName", "/dev/xvda");
                w.element("ebs", |w| w.flag("encrypted", true));
            });
        });
        assert_eq!(text, "<item><deviceName>/dev/xvda</deviceName></item>");
    }

    #[test]
    fn one_resource_alone_is_spoilt() {
        let mut spoils = Spoils::default();
        spoils.omit(Some("a"), vec!["id".to_owned()]);
        let odd = [("x", "odd"), ("new", "<")].map(|(name, text)| (name.into(), text.into()));
        spoils.replace(Some("a"), odd.into());
        let text = written(&spoils, |w| {
            w.items("set", ["a", "b"], |w, id| {
                w.resource(id, |w| {
                    w.text("id", id);
                    w.text("x", "1");
                });
            });
        });
        assert_eq!(
            text,
            "<set><item><x>odd</x><new>&lt;</new></item><item><id>b</id><x>1</x></item></set>"
        );
    }
}
