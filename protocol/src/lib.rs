//! The leaf crate: the words of AURA and nothing that acts.
//!
//! Ids, values, the flow file, expressions, signature schemes, run records, the rpc service and the
//! wire. It knows no socket, no database, no connector and no clock; everything that two other crates
//! must agree on stands here once. Start with [`flow`] (what people write), [`run`] (what happens) and
//! [`rpc`] (what clients may ask).

pub mod approval;
pub mod business;
pub mod bytes;
pub mod descriptor;
pub mod error;
pub mod event;
pub mod expr;
pub mod filter;
pub mod flow;
pub mod form;
pub mod ids;
pub mod intake;
pub mod outgoing;
pub mod relay;
pub mod rpc;
pub mod run;
pub mod schedule;
pub mod signature;
pub mod source;
pub mod text;
pub mod upkeep;
pub mod value;
pub mod variable;
pub mod version;
pub mod watch;
pub mod wire;

pub use error::{Code, WireError};
pub use ids::{
    ConnectionId, DeliveryId, EventId, FlowId, HeldId, MessageId, RelayId, RequestId, RunId, SubscriptionId, TenantId,
};
pub use value::{BlobRef, Map, Value};
