//! What is not as a client asked, told in one header of the answer.

/// Indexes of texts of one kind that are named, at most.
const MAX_NAMED: usize = 10;

/// Gathered while a request is read and answered. A line of each kind is enough
/// for a header: no text and no value of the client's is ever quoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notices {
    dropped: Vec<&'static str>,
    said: Vec<String>,
}

impl Notices {
    /// The field is valid, and set by the gateway for each model.
    pub(super) fn dropped(&mut self, field: &'static str) {
        self.dropped.push(field);
    }

    /// Anything else, in ASCII, because a header carries nothing more.
    pub(super) fn say(&mut self, words: impl Into<String>) {
        self.said.push(words.into());
    }

    /// The texts at `indexes` were cut.
    pub(super) fn truncated(&mut self, indexes: &[usize]) {
        self.texts("truncated texts", indexes);
    }

    /// An upstream has cut the texts at `indexes`, though it was not asked to.
    pub(super) fn cut_by_upstream(&mut self, indexes: &[usize]) {
        self.texts("texts truncated by the upstream, unasked", indexes);
    }

    /// The texts at `indexes` were sent as tokens that began or ended inside a character.
    pub(super) fn cut_inside_a_character(&mut self, indexes: &[usize]) {
        self.texts("tokens began or ended inside a character, which was left out, in texts", indexes);
    }

    /// The texts at `indexes` went another way than they should, in ASCII.
    pub(super) fn detour(&mut self, detour: &str, indexes: &[usize]) {
        self.texts(&format!("{detour}, texts"), indexes);
    }

    fn texts(&mut self, what: &str, indexes: &[usize]) {
        if indexes.is_empty() {
            return;
        }
        let named: Vec<_> = indexes.iter().take(MAX_NAMED).map(usize::to_string).collect();
        let more = match indexes.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.say(format!("{what}: {}{more}", named.join(", ")));
    }

    /// All of it on one line, if there is anything.
    pub(super) fn into_line(self) -> Option<String> {
        let mut parts = self.said;
        if !self.dropped.is_empty() {
            let fields = self.dropped.join(", ");
            parts.insert(0, format!("dropped, because the gateway sets it for each model: {fields}"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(notices: Notices, want: Option<&str>) {
        assert_eq!(notices.into_line().as_deref(), want);
    }

    #[test]
    fn where_all_is_as_asked_there_is_no_line() {
        let mut notices = Notices::default();
        notices.truncated(&[]);
        check(notices, None);
    }

    #[test]
    fn everything_is_on_one_line_the_dropped_fields_first() {
        let mut notices = Notices::default();
        notices.say("`prompt` was taken for `input`");
        notices.dropped("keep_alive");
        notices.dropped("options");
        notices.cut_inside_a_character(&[2]);
        notices.truncated(&[1, 4]);
        notices.detour("plugin `legal` failed and was skipped", &[0, 3]);
        let want = "dropped, because the gateway sets it for each model: keep_alive, options; \
                    `prompt` was taken for `input`; \
                    tokens began or ended inside a character, which was left out, in texts: 2; \
                    truncated texts: 1, 4; \
                    plugin `legal` failed and was skipped, texts: 0, 3";
        check(notices, Some(want));
    }

    #[test]
    fn of_many_truncated_texts_the_first_are_named() {
        let mut notices = Notices::default();
        notices.truncated(&(0..12).collect::<Vec<_>>());
        check(notices, Some("truncated texts: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"));
    }
}
