//! What live instances hold of the engine's pool.

use super::Plugin;

/// Slots of the pool that are taken: by idle instances and those out on calls, of
/// all plugins that were loaded together. What stays taken when neither is there
/// was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub components: u64,
    pub modules: u64,
    pub memories: usize,
    pub tables: usize,
    pub stacks: usize,
}

impl Plugin {
    /// Nothing where there is no pool, because the system has too few addresses for one.
    pub fn held(&self) -> Option<Held> {
        let pool = self.runtime.engine.pooling_allocator_metrics()?;
        Some(Held {
            components: pool.component_instances(),
            modules: pool.core_instances(),
            memories: pool.memories(),
            tables: pool.tables(),
            stacks: pool.stacks(),
        })
    }
}
