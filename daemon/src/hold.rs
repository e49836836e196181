//! Whether anything may start: a restored store waits for a person, and a compaction for its end.
//!
//! While held, deliveries and runs by hand are refused, timers do not fire and no call is made; what is at work is
//! finished and recorded. Whoever starts something asks here and nowhere else.

use std::sync::Arc;

use tokio::sync::watch;

/// Why nothing starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The store was restored from a snapshot of this time (Unix milliseconds) and nobody said `aura resume`.
    pub restored_ms: Option<i64>,
    /// The store is being compacted.
    pub compacting: bool,
}

impl Why {
    /// Nothing may start.
    #[must_use]
    pub fn held(&self) -> bool {
        self.restored_ms.is_some() || self.compacting
    }

    /// The reason in a few words.
    #[must_use]
    pub fn text(&self) -> String {
        match self.restored_ms {
            Some(at) => {
                let at = aura_protocol::event::timestamp(at);
                format!("paused: restored from a backup of {at}; `aura resume` lets it go on")
            }
            None if self.compacting => "compacting: the store gives space back".to_owned(),
            None => String::new(),
        }
    }

    /// Seconds after which a sender should try again.
    #[must_use]
    pub fn retry_after_s(&self) -> u32 {
        if self.restored_ms.is_some() { 60 } else { 5 }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hold(Arc<watch::Sender<Why>>);

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Why::default())))
    }
}

impl Hold {
    /// Why nothing starts, if so.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        let why = self.0.borrow();
        why.held().then(|| why.clone())
    }

    /// Whether nothing may start.
    #[must_use]
    pub fn held(&self) -> bool {
        self.0.borrow().held()
    }

    /// The store was restored, or a person lets it go on.
    pub fn restored(&self, snapshot_ms: Option<i64>) {
        self.0.send_modify(|why| why.restored_ms = snapshot_ms);
    }

    /// A compaction begins or ends.
    pub fn compacting(&self, yes: bool) {
        self.0.send_modify(|why| why.compacting = yes);
    }

    /// Waits until things may start; at once if they may.
    pub async fn released(&self) {
        // The sender lives as long as this handle.
        let _ = self.0.subscribe().wait_for(|why| !why.held()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_reason_holds_alone_and_the_last_one_gone_releases() {
        let hold = Hold::default();
        hold.released().await;
        hold.restored(Some(0));
        hold.compacting(true);
        assert!(hold.why().unwrap().text().starts_with("paused: restored from a backup of 1970-"), "{hold:?}");
        hold.restored(None);
        assert!(hold.held());
        let waits = tokio::spawn({
            let hold = hold.clone();
            async move { hold.released().await }
        });
        hold.compacting(false);
        waits.await.unwrap();
        assert_eq!(hold.why(), None);
    }
}
