//! What of a record may stand elsewhere: outputs and inputs, large ones as references to stored values.
//!
//! Invariant: a row of a journal holds exactly the references that these functions show; whoever removes the row
//! releases the same ones.

use super::{Record, Resolution};
use crate::value::{BlobRef, Value};

impl Record {
    /// The record itself, or the one of which it is the copy.
    #[must_use]
    pub fn bare(&self) -> &Self {
        match self {
            Self::Copied(copied) => copied.bare(),
            other => other,
        }
    }

    /// The payloads of a record that may stand elsewhere: outputs, and the inputs of calls and of the run.
    pub fn payloads(&self) -> impl Iterator<Item = &Value> {
        let (payload, items) = match self.bare() {
            Self::RunStarted(started) => (Some(&started.input), [].as_slice()),
            Self::Scheduled { input, .. } => (Some(input), [].as_slice()),
            Self::Completed { output, .. }
            | Self::Handled { output, .. }
            | Self::RunFinished { output, .. }
            | Self::Signalled { data: output, .. }
            | Self::Resolved { resolution: Resolution::Done(output), .. } => (Some(output), [].as_slice()),
            Self::ItemsCopied { items, .. } => (None, items.as_slice()),
            _ => (None, [].as_slice()),
        };
        payload.into_iter().chain(items.iter().map(|item| &item.output))
    }

    /// The same, to be changed.
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let mut record = self;
        while let Self::Copied(copied) = record {
            record = copied.as_mut();
        }
        let (payload, items) = match record {
            Self::Scheduled { input, .. } => (Some(input), [].as_mut_slice()),
            Self::Completed { output, .. }
            | Self::Handled { output, .. }
            | Self::RunFinished { output, .. }
            | Self::Signalled { data: output, .. }
            | Self::Resolved { resolution: Resolution::Done(output), .. } => (Some(output), [].as_mut_slice()),
            Self::ItemsCopied { items, .. } => (None, items.as_mut_slice()),
            _ => (None, [].as_mut_slice()),
        };
        payload.into_iter().chain(items.iter_mut().map(|item| &mut item.output))
    }

    /// Every reference to a stored value in it.
    pub fn blobs(&self, visit: &mut dyn FnMut(BlobRef)) {
        if let Self::RunStarted(started) = self
            && let Some(blob) = started.event.blob
        {
            visit(blob);
        }
        self.payloads().for_each(|value| value.blobs(visit));
    }
}
