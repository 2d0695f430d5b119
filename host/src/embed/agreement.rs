//! Which upstreams of a model have the same model.
//!
//! Vectors of two models under one name must not meet in one cache or one
//! collection: an upstream takes texts only once it was seen to agree.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::upstream::{Backend, Identity, UpstreamError};

/// How long an upstream that did not agree is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// One upstream of a model.
pub(super) struct Member {
    /// Its index among all upstreams.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) backend: Arc<dyn Backend>,
}

/// The upstreams of one model, and what they agreed on.
pub(super) struct Agreement {
    /// The model's name at the upstreams.
    model: Arc<str>,
    members: Vec<Member>,
    /// What was agreed on when the upstreams were others.
    before: Option<String>,
    identity: OnceLock<String>,
    /// Held while upstreams are asked, so that they are asked once.
    standby: Mutex<Standby>,
}

/// Members that take no texts.
struct Standby {
    members: Vec<usize>,
    asked: Option<Instant>,
}

impl Agreement {
    /// `before` decides where votes are equal: what was agreed on when the
    /// upstreams were others.
    pub(super) fn new(model: Arc<str>, members: Vec<Member>, before: Option<String>) -> Self {
        let standby = Standby { members: (0..members.len()).collect(), asked: None };
        Self { model, members, before, identity: OnceLock::new(), standby: Mutex::new(standby) }
    }

    /// What was agreed on, if anybody was asked yet.
    pub(super) fn known(&self) -> Option<&str> {
        self.identity.get().map(String::as_str)
    }

    /// What was agreed on last, now or before.
    pub(super) fn last(&self) -> Option<&str> {
        self.known().or(self.before.as_deref())
    }

    /// Returns what the model is, asking when nobody has; `admit` is called with
    /// the index of each upstream that may take texts.
    ///
    /// # Errors
    /// That of the first upstream, when none has the model.
    pub(super) async fn identity(&self, admit: impl Fn(usize)) -> Result<&str, UpstreamError> {
        if let Some(identity) = self.known() {
            return Ok(identity);
        }
        let mut standby = self.standby.lock().await;
        if let Some(identity) = self.known() {
            return Ok(identity);
        }
        let answers = self.ask(&standby.members).await;
        let Some(identity) = elect(&answers, self.before.as_deref()) else {
            return Err(first_error(answers, &self.model));
        };
        standby.members = self.sort(answers, &identity, admit);
        standby.asked = Some(Instant::now());
        Ok(self.identity.get_or_init(|| identity))
    }

    /// Asks those that stand by again, if it is time and nobody else is at it.
    pub(super) async fn ask_again(&self, admit: impl Fn(usize)) {
        let (Some(identity), Ok(mut standby)) = (self.known(), self.standby.try_lock()) else { return };
        if !is_due(&standby) {
            return;
        }
        standby.asked = Some(Instant::now());
        let answers = self.ask(&standby.members).await;
        standby.members = self.sort(answers, identity, admit);
    }

    /// Whether [`Agreement::ask_again`] would ask anybody.
    pub(super) fn is_due(&self) -> bool {
        self.standby.try_lock().is_ok_and(|standby| is_due(&standby))
    }

    /// Whether upstreams are being asked at this moment.
    pub(super) fn is_being_asked(&self) -> bool {
        self.standby.try_lock().is_err()
    }

    async fn ask(&self, members: &[usize]) -> Vec<(usize, Result<Identity, UpstreamError>)> {
        join_all(
            members
                .iter()
                .map(|member| async { (*member, self.members[*member].backend.identity(&self.model).await) }),
        )
        .await
    }

    /// Admits who agrees with `identity`, and returns the others.
    fn sort(
        &self,
        answers: Vec<(usize, Result<Identity, UpstreamError>)>,
        identity: &str,
        admit: impl Fn(usize),
    ) -> Vec<usize> {
        let mut standby = Vec::new();
        for (index, answer) in answers {
            let member = &self.members[index];
            let (upstream, model) = (member.name.as_str(), &*self.model);
            match answer {
                Ok(theirs) if !theirs.is_read || theirs.text == identity => {
                    admit(member.index);
                    continue;
                }
                Ok(theirs) => tracing::warn!(
                    upstream,
                    model,
                    theirs = theirs.text,
                    agreed = identity,
                    "upstream stands by: it has another model of this name"
                ),
                Err(error) => tracing::warn!(
                    upstream,
                    model,
                    error = &error as &dyn std::error::Error,
                    "upstream stands by: it cannot say which model it has"
                ),
            }
            standby.push(index);
        }
        standby
    }
}

fn is_due(standby: &Standby) -> bool {
    !standby.members.is_empty() && standby.asked.is_none_or(|asked| ASK_AGAIN <= asked.elapsed())
}

/// What most say that they read. In doubt it is what was agreed `before`, else what
/// the first of them says; so too where nobody can read it.
fn elect(answers: &[(usize, Result<Identity, UpstreamError>)], before: Option<&str>) -> Option<String> {
    let said = || answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for identity in said().filter(|identity| identity.is_read) {
        *votes.entry(&identity.text).or_default() += 1;
    }
    let most = votes.values().max().copied().unwrap_or(0);
    let may_win = |identity: &&Identity| match most {
        0 => true,
        most => identity.is_read && votes.get(identity.text.as_str()) == Some(&most),
    };
    said()
        .filter(may_win)
        .find(|identity| Some(identity.text.as_str()) == before)
        .or_else(|| said().find(may_win))
        .map(|identity| identity.text.clone())
}

fn first_error(answers: Vec<(usize, Result<Identity, UpstreamError>)>, model: &str) -> UpstreamError {
    let error = answers.into_iter().find_map(|(_, answer)| answer.err());
    error.unwrap_or_else(|| UpstreamError::NoModel { upstream: "none".to_owned(), model: model.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Identity, UpstreamError> {
        Ok(Identity { text: text.into(), is_read: true })
    }

    fn said(text: &str) -> Result<Identity, UpstreamError> {
        Ok(Identity { text: text.into(), is_read: false })
    }

    fn gone() -> Result<Identity, UpstreamError> {
        Err(UpstreamError::Busy { upstream: "u".into() })
    }

    #[track_caller]
    fn check(answers: Vec<Result<Identity, UpstreamError>>, want: Option<&str>) {
        check_after(None, answers, want);
    }

    #[track_caller]
    fn check_after(before: Option<&str>, answers: Vec<Result<Identity, UpstreamError>>, want: Option<&str>) {
        let answers: Vec<_> = answers.into_iter().enumerate().collect();
        assert_eq!(elect(&answers, before).as_deref(), want);
    }

    #[test]
    fn what_was_agreed_before_decides_where_votes_are_equal() {
        check_after(Some("a"), vec![read("b"), read("a")], Some("a"));
        check_after(Some("a"), vec![read("b"), read("b"), read("a")], Some("b"));
        check_after(Some("gone"), vec![read("b"), read("a")], Some("b"));
        check_after(Some("y"), vec![said("x"), said("y")], Some("y"));
        check_after(Some("x"), vec![said("x"), read("a")], Some("a"));
    }

    #[test]
    fn most_digests_decide_and_the_first_in_doubt() {
        check(vec![read("a"), read("b"), read("b")], Some("b"));
        check(vec![read("b"), read("a")], Some("b"));
        check(vec![gone(), read("a")], Some("a"));
    }

    #[test]
    fn what_was_read_is_worth_more_than_what_was_said() {
        check(vec![said("x"), said("x"), read("a")], Some("a"));
        check(vec![said("x"), said("y")], Some("x"));
    }

    #[test]
    fn nobody_there_means_no_decision() {
        check(vec![gone(), gone()], None);
    }
}
