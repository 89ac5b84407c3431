//! Whom a request acts for, and what was asked about them.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use quikapp_chat::{Error, Result, access::Viewer, entities::UserId};

/// Whom a request acts for. Signing in changes it in the middle of a request, so that the payload can be read.
#[derive(Clone, Default)]
pub(crate) struct Identity(Arc<Inner>);

#[derive(Default)]
struct Inner {
    viewer: RwLock<Option<Viewer>>,
    /// Kept only where an answer may be given to others too.
    asked: Option<Mutex<Asked>>,
}

/// What an answer depends on, of all that there is to know about the viewer.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Who it is: no other viewer can be given the answer.
    who: bool,
    questions: Vec<(Question, bool)>,
}

/// Something that is the same for many viewers.
#[derive(Debug)]
enum Question {
    Is(UserId),
    IsAmong(Vec<UserId>),
}

impl Question {
    fn of(&self, viewer: UserId) -> bool {
        match self {
            Self::Is(user) => *user == viewer,
            Self::IsAmong(users) => users.contains(&viewer),
        }
    }
}

impl Asked {
    /// Whether the answer holds for nobody else.
    pub(crate) fn is_personal(&self) -> bool {
        self.who
    }

    /// Adds that something else in the answer may depend on who it is.
    pub(crate) fn add(&mut self, who: bool) {
        self.who |= who;
    }

    /// Whether the answer is the same for this viewer.
    pub(crate) fn holds_for(&self, viewer: UserId) -> bool {
        !self.who && self.questions.iter().all(|(question, answer)| question.of(viewer) == *answer)
    }
}

impl Identity {
    pub(crate) fn new(viewer: Option<Viewer>) -> Self {
        Self(Arc::new(Inner { viewer: RwLock::new(viewer), asked: None }))
    }

    /// One that remembers what it was asked.
    pub(crate) fn watched(viewer: Viewer) -> Self {
        Self(Arc::new(Inner { viewer: RwLock::new(Some(viewer)), asked: Some(Mutex::default()) }))
    }

    /// What it was asked until now.
    pub(crate) fn take_asked(&self) -> Asked {
        let Some(asked) = &self.0.asked else { return Asked { who: true, questions: Vec::new() } };
        std::mem::take(&mut asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it was asked until now who it is.
    pub(crate) fn was_asked_for(&self) -> bool {
        let Some(asked) = &self.0.asked else { return true };
        asked.lock().unwrap_or_else(PoisonError::into_inner).who
    }

    pub(crate) fn get(&self) -> Option<Viewer> {
        if let Some(asked) = &self.0.asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).who = true;
        }
        self.peek()
    }

    /// Who asks; UNAUTHENTICATED for nobody.
    pub(crate) fn viewer(&self) -> Result<Viewer> {
        self.get().ok_or(Error::Unauthenticated("sign in first"))
    }

    /// Nothing, if there is a viewer, whoever it is; UNAUTHENTICATED for nobody.
    pub(crate) fn require(&self) -> Result<()> {
        self.peek().map(|_| ()).ok_or(Error::Unauthenticated("sign in first"))
    }

    /// Whether the viewer is this user.
    pub(crate) fn is(&self, user: UserId) -> Result<bool> {
        self.answer(|| Question::Is(user))
    }

    /// Whether the viewer is one of these users.
    pub(crate) fn is_among(&self, users: impl Iterator<Item = UserId>) -> Result<bool> {
        self.answer(|| Question::IsAmong(users.collect()))
    }

    fn answer(&self, question: impl FnOnce() -> Question) -> Result<bool> {
        let viewer = self.peek().ok_or(Error::Unauthenticated("sign in first"))?;
        let question = question();
        let answer = question.of(viewer.user());
        if let Some(asked) = &self.0.asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).questions.push((question, answer));
        }
        Ok(answer)
    }

    pub(crate) fn set(&self, viewer: Viewer) {
        *self.0.viewer.write().unwrap_or_else(PoisonError::into_inner) = Some(viewer);
    }

    fn peek(&self) -> Option<Viewer> {
        *self.0.viewer.read().unwrap_or_else(PoisonError::into_inner)
    }
}
