//! What the listeners of one change make of it, kept beside the change so that it is made once for all of them.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What a note is about: whose it is, and which of the writer's several views of the change.
pub type NoteKey = (u64, u32);

/// Notes on one change. They live as long as the change is on its way to somebody.
#[derive(Default)]
pub struct Notes(Mutex<Vec<(NoteKey, Arc<dyn Any + Send + Sync>)>>);

impl Notes {
    /// The note under `key`, begun empty by whoever asks first.
    pub fn get<N: Default + Send + Sync + 'static>(&self, key: NoteKey) -> Arc<N> {
        // A poisoned lock guards a plain list: it is as good as before.
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.iter().find(|(other, _)| *other == key);
        if let Some(note) = known.and_then(|(_, note)| Arc::clone(note).downcast().ok()) {
            return note;
        }
        let note = Arc::<N>::default();
        notes.push((key, Arc::clone(&note) as Arc<dyn Any + Send + Sync>));
        note
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notes")
    }
}
