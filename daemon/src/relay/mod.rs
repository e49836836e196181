//! Relays: a small aurad where providers can reach it takes deliveries for one at home, which nothing can reach.
//!
//! At the relay: [`here`] (its token and its part of the door), [`queue`] (what waits for home). At home: [`home`] (a
//! link to each relay), [`link`] (what is said to it), [`hand`] (a delivery becomes an event). Home dials, sends its routes
//! (`catalog/mirror`) and takes. The invariant: the relay keeps a delivery until home said that it is stored, and home
//! remembers that it took one, in the transaction of its event, until the relay let go of it; so a kill of either side at
//! any moment neither loses a delivery nor begins two runs. See `docs/relay.md`.

pub mod hand;
pub mod here;
pub mod home;
pub mod link;
pub mod queue;
