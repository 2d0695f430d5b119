//! The models that are served at this moment. Reading it never waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::ModelName;

use super::served::Served;

/// Models by the name that clients ask for.
pub(super) type Models = BTreeMap<ModelName, Arc<Served>>;

/// Who holds a model that is taken off goes on with it until done.
pub(super) struct Catalog(ArcSwap<Models>);

impl Catalog {
    pub(super) fn new(models: Models) -> Self {
        Self(ArcSwap::from_pointee(models))
    }

    pub(super) fn get(&self, name: &ModelName) -> Option<Arc<Served>> {
        self.0.load().get(name).cloned()
    }

    /// All of them as they are now.
    pub(super) fn all(&self) -> Arc<Models> {
        self.0.load_full()
    }

    /// Serves `models` and no others from now on.
    pub(super) fn replace(&self, models: Models) {
        self.0.store(Arc::new(models));
    }
}
