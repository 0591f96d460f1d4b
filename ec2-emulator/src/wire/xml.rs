//! Writing XML: every value escaped, any element leavable out.

/// Builds one document. Elements named in `omit` are left out with all they hold, which is how a
/// fault makes optional fields disappear from an otherwise true answer.
pub(crate) struct Writer<'a> {
    out: String,
    omit: &'a [String],
}

impl<'a> Writer<'a> {
    pub(crate) fn new(omit: &'a [String]) -> Self {
        Self {
            out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
            omit,
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
        if self.omit.iter().any(|omitted| omitted == name) {
            return;
        }
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(attributes);
        self.out.push('>');
        content(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
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

    pub(crate) fn finish(self) -> String {
        self.out
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

    #[test]
    fn values_are_escaped() {
        let mut w = Writer::new(&[]);
        w.text("value", "<a b=\"c\" d='e'> & \n\u{1}");
        assert!(w.finish().ends_with(
            "<value>&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt; &amp; &#10;\u{FFFD}</value>"
        ));
    }

    #[test]
    fn an_omitted_element_goes_with_all_it_holds() {
        let omit = [String::from("ebs")];
        let mut w = Writer::new(&omit);
        w.element("item", |w| {
            w.text("deviceName", "/dev/xvda");
            w.element("ebs", |w| w.flag("encrypted", true));
        });
        assert!(
            w.finish()
                .ends_with("<item><deviceName>/dev/xvda</deviceName></item>")
        );
    }
}
