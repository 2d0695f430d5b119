//! Which upstreams of a model have the same model.
//!
//! Vectors of two models under one name must not meet in one cache or one
//! collection: an upstream takes texts only once what it says of the model, and
//! its vector of the canary, were seen to be those of the others. Nobody waits for
//! the canary of an only upstream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::canary::{self, Canary};
use super::standing::{Stand, Standing};
use crate::model::Embedding;
use crate::upstream::{Backend, Identity, UpstreamError};

/// How long an upstream that did not agree is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How long the others are waited for, once an upstream has answered.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(2);

/// One upstream of a model.
pub(super) struct Member {
    /// Its index among all upstreams.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) backend: Arc<dyn Backend>,
}

/// What was agreed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    pub(super) identity: Option<String>,
    pub(super) canary: Option<Embedding>,
}

/// The upstreams of one model, and what they agreed on.
pub(super) struct Agreement {
    canary: Canary,
    members: Vec<Member>,
    /// What was agreed on when the upstreams were others, or had others.
    before: Agreed,
    identity: OnceLock<String>,
    /// The vector that everybody's canary must have.
    vector: OnceLock<Embedding>,
    /// Of each member, what it said last of the model, and what follows.
    stands: Lock<Vec<Stand>>,
    /// Held while upstreams are asked, so that they are asked once.
    standby: Mutex<Standby>,
}

/// Members that take no texts.
struct Standby {
    members: Vec<usize>,
    asked: Option<Instant>,
}

/// What one member answered.
struct Said {
    identity: Identity,
    /// Nothing where nobody else is there to compare it with.
    canary: Option<Embedding>,
}

type Answered = Result<Said, UpstreamError>;

impl Agreement {
    /// `before` decides where votes are equal: what was agreed on when the
    /// upstreams were others.
    pub(super) fn new(canary: Canary, members: Vec<Member>, before: Agreed) -> Self {
        let standby = Standby { members: (0..members.len()).collect(), asked: None };
        Self {
            stands: Lock::new(vec![Stand::default(); members.len()]),
            canary,
            members,
            before,
            identity: OnceLock::new(),
            vector: OnceLock::new(),
            standby: Mutex::new(standby),
        }
    }

    /// What was agreed on, if anybody was asked yet.
    pub(super) fn known(&self) -> Option<&str> {
        self.identity.get().map(String::as_str)
    }

    /// What was agreed on last, now or before.
    pub(super) fn last(&self) -> Agreed {
        Agreed {
            identity: self.known().map(str::to_owned).or_else(|| self.before.identity.clone()),
            canary: self.vector.get().or(self.before.canary.as_ref()).cloned(),
        }
    }

    /// How many dimensions the vector has that everybody's canary must have.
    pub(super) fn dimensions(&self) -> Option<usize> {
        self.vector.get().map(Embedding::dimensions)
    }

    /// Whether there is nobody to disagree with.
    pub(super) fn is_of_one(&self) -> bool {
        self.members.len() == 1
    }

    /// How the canary of the model is asked for.
    pub(super) fn canary(&self) -> &Canary {
        &self.canary
    }

    /// Indexes of those that take texts, among all upstreams.
    pub(super) fn taking_part(&self) -> Vec<usize> {
        self.stands()
            .iter()
            .zip(&self.members)
            .filter(|(stand, _)| stand.standing == Standing::TakesPart)
            .map(|(_, member)| member.index)
            .collect()
    }

    /// How the upstream at `index` stands; nothing where it is no upstream of the model.
    pub(super) fn stand(&self, index: usize) -> Option<Stand> {
        let member = self.members.iter().position(|member| member.index == index)?;
        self.stands().get(member).cloned()
    }

    fn stands(&self) -> MutexGuard<'_, Vec<Stand>> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Some(identity) = elect(&answers, self.before.identity.as_deref()) else {
            return Err(first_error(answers, &self.canary.model));
        };
        let of_the_model = answers.iter().filter_map(|(_, said)| said.as_ref().ok());
        let heard: Vec<&Embedding> = of_the_model
            .filter(|said| agrees(&said.identity, &identity))
            .filter_map(|said| said.canary.as_ref())
            .collect();
        if let Some(upstream) = self.lone_dissenter(&answers, &heard, &identity) {
            let message =
                "its vector of the canary is another one, and too few others can be asked".to_owned();
            return Err(UpstreamError::Fault { upstream, message });
        }
        if let Some(vector) = canary::elect(&heard, self.before.canary.as_ref()) {
            self.learn(vector.clone());
        }
        standby.members = self.sort(&standby.members, answers, &identity, admit);
        standby.asked = Some(Instant::now());
        Ok(self.identity.get_or_init(|| identity))
    }

    /// The first of those that say that nothing has changed and sing another canary than before,
    /// where they are no majority and all others are silent: those would know better.
    fn lone_dissenter(
        &self,
        answers: &[(usize, Answered)],
        heard: &[&Embedding],
        identity: &str,
    ) -> Option<String> {
        let known =
            self.before.canary.as_ref().filter(|_| self.before.identity.as_deref() == Some(identity))?;
        let is_known = heard.iter().any(|canary| canary::are_same(known, canary));
        if heard.is_empty() || is_known || self.members.len() < 2 * heard.len() {
            return None;
        }
        let (member, _) = answers.iter().find(|(_, answer)| answer.is_ok())?;
        Some(self.members[*member].name.clone())
    }

    /// Takes `vector` for the model's canary, unless there is one. Returns whether it is the same.
    pub(super) fn learn(&self, vector: Embedding) -> bool {
        canary::are_same(self.vector.get_or_init(|| vector.clone()), &vector)
    }

    /// Asks those that stand by again, if it is time and nobody else is at it.
    pub(super) async fn ask_again(&self, admit: impl Fn(usize)) {
        let (Some(identity), Ok(mut standby)) = (self.known(), self.standby.try_lock()) else { return };
        if !is_due(&standby) {
            return;
        }
        standby.asked = Some(Instant::now());
        let answers = self.ask(&standby.members).await;
        standby.members = self.sort(&standby.members, answers, identity, admit);
    }

    /// Asks those that take part, or only the one at `index`, whether their model is
    /// still what was agreed on. One that cannot be asked is no reason to doubt.
    pub(super) async fn has_changed(&self, index: Option<usize>) -> bool {
        let Some(agreed) = self.known() else { return false };
        let asked = self.taking_part();
        let asked = asked.into_iter().filter(|one| index.is_none_or(|index| *one == index));
        let mut answers: FuturesUnordered<_> = asked
            .filter_map(|index| self.members.iter().find(|member| member.index == index))
            .map(|member| async { (&member.name, member.backend.identity(&self.canary.model).await) })
            .collect();
        while let Some((upstream, answer)) = answers.next().await {
            let now = match answer {
                Ok(identity) if agrees(&identity, agreed) => continue,
                Ok(identity) => identity.text,
                Err(UpstreamError::NoModel { .. }) => "nothing".to_owned(),
                Err(_) => continue,
            };
            tracing::warn!(
                upstream,
                model = &*self.canary.model,
                now,
                agreed,
                "the upstream's model has changed"
            );
            return true;
        }
        false
    }

    /// Whether [`Agreement::ask_again`] would ask anybody.
    pub(super) fn is_due(&self) -> bool {
        self.standby.try_lock().is_ok_and(|standby| is_due(&standby))
    }

    /// Whether upstreams are being asked at this moment.
    pub(super) fn is_being_asked(&self) -> bool {
        self.standby.try_lock().is_err()
    }

    /// What `members` say, in their order. Who does not answer soon after another
    /// one is left out.
    async fn ask(&self, members: &[usize]) -> Vec<(usize, Answered)> {
        let mut asked: FuturesUnordered<_> =
            members.iter().map(|member| async { (*member, self.ask_one(*member).await) }).collect();
        let mut answers = Vec::with_capacity(members.len());
        let mut until = None;
        loop {
            let next = match until {
                Some(until) => tokio::time::timeout_at(until, asked.next()).await,
                None => Ok(asked.next().await),
            };
            let Ok(Some(answer)) = next else { break };
            if answer.1.is_ok() {
                until.get_or_insert_with(|| Instant::now() + WAIT_FOR_OTHERS);
            }
            answers.push(answer);
        }
        answers.sort_by_key(|(member, _)| *member);
        answers
    }

    async fn ask_one(&self, member: usize) -> Answered {
        let Member { name, backend, .. } = &self.members[member];
        let identity = backend.identity(&self.canary.model).await?;
        let canary = match self.members.len() {
            1 => None,
            _ => Some(self.canary.ask(name, &**backend).await?),
        };
        Ok(Said { identity, canary })
    }

    /// Admits those of `asked` that agree with `identity` and the canary, and returns the others.
    fn sort(
        &self,
        asked: &[usize],
        answers: Vec<(usize, Answered)>,
        identity: &str,
        admit: impl Fn(usize),
    ) -> Vec<usize> {
        let mut answers: BTreeMap<usize, Answered> = answers.into_iter().collect();
        let mut standby = Vec::new();
        for index in asked {
            let answer = answers.remove(index);
            let theirs = match &answer {
                Some(Ok(said)) => Some(said.identity.text.clone()),
                _ => None,
            };
            let reason = self.objection(answer, identity);
            let standing = match reason {
                None => {
                    admit(self.members[*index].index);
                    Standing::TakesPart
                }
                Some(reason) => {
                    let (upstream, model) = (self.members[*index].name.as_str(), &*self.canary.model);
                    tracing::warn!(upstream, model, reason, "upstream stands by");
                    standby.push(*index);
                    Standing::StandsBy { reason }
                }
            };
            if let Some(stand) = self.stands().get_mut(*index) {
                stand.becomes(theirs, standing);
            }
        }
        standby
    }

    /// Why a member that answered so takes no texts.
    fn objection(&self, answer: Option<Answered>, identity: &str) -> Option<String> {
        let said = match answer {
            None => return Some("it did not answer in time".to_owned()),
            Some(Err(error)) => return Some(super::health::vitals::told(&error)),
            Some(Ok(said)) => said,
        };
        if !agrees(&said.identity, identity) {
            return Some(format!(
                "it has another model of this name: `{}` where `{identity}` was agreed on",
                said.identity.text
            ));
        }
        let is_same = said.canary.is_none_or(|canary| self.learn(canary));
        (!is_same).then(|| "its vector of the canary is another one".to_owned())
    }
}

/// Whether a member that says so may have the model of `identity`.
fn agrees(theirs: &Identity, identity: &str) -> bool {
    !theirs.is_read || theirs.text == identity
}

fn is_due(standby: &Standby) -> bool {
    !standby.members.is_empty() && standby.asked.is_none_or(|asked| ASK_AGAIN <= asked.elapsed())
}

/// What most say that they read. In doubt it is what was agreed `before`, else what
/// the first of them says; so too where nobody can read it.
fn elect(answers: &[(usize, Answered)], before: Option<&str>) -> Option<String> {
    let said = || answers.iter().filter_map(|(_, answer)| Some(&answer.as_ref().ok()?.identity));
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

fn first_error(answers: Vec<(usize, Answered)>, model: &str) -> UpstreamError {
    let error = answers.into_iter().find_map(|(_, answer)| answer.err());
    error.unwrap_or_else(|| UpstreamError::NoModel { upstream: "none".to_owned(), model: model.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answered {
        Ok(Said { identity: Identity { text: text.into(), is_read: true }, canary: None })
    }

    fn said(text: &str) -> Answered {
        Ok(Said { identity: Identity { text: text.into(), is_read: false }, canary: None })
    }

    fn gone() -> Answered {
        Err(UpstreamError::Busy { upstream: "u".into() })
    }

    #[track_caller]
    fn check(answers: Vec<Answered>, want: Option<&str>) {
        check_after(None, answers, want);
    }

    #[track_caller]
    fn check_after(before: Option<&str>, answers: Vec<Answered>, want: Option<&str>) {
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
