//! `aura subscription`: outgoing webhooks, to whom they go and what became of them.
//!
//! Invariant: a secret is made here, shown once and given to the daemon, which never gives it out again.
//! [`sendings`] is about what was sent.

pub mod sendings;

use aura_protocol::flow::Span;
use aura_protocol::outgoing::{
    Header, Sending, SendingState, Subscription, SubscriptionEnable, SubscriptionPut, SubscriptionQuery,
    SubscriptionRotate, SubscriptionTest, secret_of,
};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Output, note};
use super::{Ended, files};
use crate::client::Session;
use crate::times;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All subscriptions and how they fare
    #[command(
        after_help = "Example: aura subscription list --json\n         aura subscription list --deleted   # what can be restored"
    )]
    List {
        /// What is in the bin
        #[arg(long)]
        deleted: bool,
    },
    /// One subscription with everything but its secret
    #[command(after_help = "Example: aura subscription show acme-orders")]
    Show {
        /// Its name
        name: String,
    },
    /// Send events of some types to somebody's address, signed; prints the secret, once
    #[command(after_help = "Examples:
  aura subscription create acme-orders --url https://acme.example/hooks --types 'order.*' --customer acme
  aura subscription create erp --url https://erp.example/in --types '*' --customer '*' --ordered --rate 10/1s
  aura subscription create crm --url https://crm.example/in --types customer.changed --secret-header X-Key=@key.txt")]
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: Fields,
        /// A secret that both sides have already: @file or - (standard input); without it one is made
        #[arg(long, value_name = "@FILE")]
        secret: Option<String>,
    },
    /// Change what is given of a subscription
    #[command(after_help = "Examples:
  aura subscription edit acme-orders --url https://acme.example/v2 --types order.paid,order.shipped
  aura subscription edit acme-orders --rate '' --header X-Old=     # takes both away")]
    Edit {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Make a new secret; the one before signs beside it for a while
    #[command(after_help = "Example: aura subscription rotate acme-orders --keep 3d")]
    Rotate {
        /// Its name
        name: String,
        /// How long the secret before goes on signing, at most 7d
        #[arg(long, default_value = "24h", value_name = "TIME")]
        keep: Span,
        /// A secret that both sides have already: @file or - (standard input); without it one is made
        #[arg(long, value_name = "@FILE")]
        secret: Option<String>,
    },
    /// Send to it again, also if the daemon disabled it
    #[command(
        after_help = "Example: aura subscription enable acme-orders && aura subscription recover acme-orders --since 2d --yes"
    )]
    Enable {
        /// Its name
        name: String,
    },
    /// Stop sending; what waits stays, and what comes meanwhile can be recovered
    #[command(after_help = "Example: aura subscription disable acme-orders")]
    Disable {
        /// Its name
        name: String,
    },
    /// Put a subscription into the bin
    #[command(after_help = "Example: aura subscription delete acme-orders")]
    Delete {
        /// Its name
        name: String,
    },
    /// Take a subscription out of the bin, within 30 days; it stays disabled
    #[command(after_help = "Example: aura subscription restore acme-orders && aura subscription enable acme-orders")]
    Restore {
        /// Its name
        name: String,
    },
    /// Send a test event, once and at once, and say what came back
    #[command(after_help = "Examples:
  aura subscription test acme-orders      # exit code 1 unless it was taken
  aura subscription test acme-orders --type order.paid --data @order.json")]
    Test {
        /// Its name
        name: String,
        /// The event's type, if you are an editor (else it is aura.test)
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Its data as JSON, if you are an editor; @file and - are read
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
    },
    /// What was sent, is waiting or was given up, newest first
    #[command(after_help = "Examples:
  aura subscription sendings acme-orders --state failed --since 2d
  aura subscription sendings --type 'order.*' --limit 20 --json   # to all of them")]
    Sendings(sendings::List),
    /// One sending: its attempts, what was answered, and what is sent
    #[command(after_help = "Example: aura subscription attempts acme-orders msg_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z")]
    Attempts {
        /// Its subscription
        name: String,
        /// The message, as webhook-id names it
        message: String,
    },
    /// Send a message again, or all that fit
    #[command(after_help = "Examples:
  aura subscription resend acme-orders msg_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z
  aura subscription resend acme-orders --state succeeded --type order.paid --since 1h --plan
  aura subscription resend acme-orders --state waiting --yes     # at once, not when their time comes")]
    Resend(sendings::Again),
    /// Send now what failed or waits since a time, and with --missing what came while it was disabled
    #[command(after_help = "Example: aura subscription recover acme-orders --since 2d --missing --plan")]
    Recover(sendings::Recover),
    /// Give a sending up, so that an ordered subscription goes on with the next
    #[command(after_help = "Example: aura subscription give-up acme-orders msg_01KAM6Z7Q2M1GC2R8T4W9X5Y3Z")]
    GiveUp {
        /// Its subscription
        name: String,
        /// The message, as webhook-id names it
        message: String,
    },
}

/// What a subscription consists of.
#[derive(Args, Debug, Default)]
pub struct Fields {
    /// Where its events are sent
    #[arg(long)]
    url: Option<String>,
    /// Event types: names, beginnings like order.*, or * for all
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// Whose it is: it gets events for nobody in particular and those of this customer; * gets those of all
    #[arg(long)]
    customer: Option<String>,
    /// A word for people
    #[arg(long)]
    note: Option<String>,
    /// A header to send along, as NAME=VALUE; an empty value takes it away (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// A header whose value nobody is shown, as NAME=@FILE or NAME=- (repeatable)
    #[arg(long, value_name = "NAME=@FILE")]
    secret_header: Vec<String>,
    /// At most so many attempts in a time, as 10/1s; an empty text takes it away
    #[arg(long)]
    rate: Option<String>,
    /// Send the next one only when the one before succeeded or was given up
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    ordered: Option<bool>,
}

fn header(text: &str, secret: bool) -> Result<Header, WireError> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(WireError::new(Code::Invalid, "a header is written as NAME=VALUE"));
    };
    let value = if secret { read(value)? } else { value.to_owned() };
    Ok(Header { name: name.to_owned(), value, secret })
}

/// What is given, or what stands in the file or on standard input that it names.
fn read(text: &str) -> Result<String, WireError> {
    let found = match text.strip_prefix('@') {
        Some(path) => files::text(path)?,
        None if text == "-" => files::text("-")?,
        None => return Ok(text.to_owned()),
    };
    Ok(found.trim_end_matches(['\n', '\r']).to_owned())
}

impl Fields {
    fn put(self, name: String, create: bool) -> Result<SubscriptionPut, WireError> {
        let open = self.header.iter().map(|text| header(text, false));
        let secret = self.secret_header.iter().map(|text| header(text, true));
        Ok(SubscriptionPut {
            name,
            create,
            url: self.url,
            types: Some(self.types).filter(|types| !types.is_empty()),
            customer: self.customer,
            note: self.note,
            headers: open.chain(secret).collect::<Result<_, _>>()?,
            rate: self.rate,
            ordered: self.ordered,
            secret: None,
        })
    }
}

/// A secret that was given, or a new one; and whether it is new.
fn secret_from(given: Option<&str>) -> Result<(String, bool), WireError> {
    if let Some(given) = given {
        return Ok((read(given)?, false));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| WireError::internal(format!("the machine gives no random numbers: {error}")))?;
    Ok((secret_of(&random), true))
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    subscription: &'a Subscription,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Answers a subscription command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn subscription(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List { deleted: true } => super::flow::bin::list("subscription", session, out).await,
        Command::List { .. } => list(session, out).await,
        Command::Show { name } => {
            let found = one(name, session).await?;
            if out.json {
                out.value(&found)?
            } else {
                show(&found, out)?
            }
            Ok(0)
        }
        Command::Create { name, fields, secret } => {
            let (secret, new) = secret_from(secret.as_deref())?;
            let put = SubscriptionPut { secret: Some(secret.clone()), ..fields.put(name, true)? };
            let made = put_it(put, session).await?;
            with_secret(&made, new.then_some(secret.as_str()), "created", out)
        }
        Command::Edit { name, fields } => {
            let changed = put_it(fields.put(name, false)?, session).await?;
            said(&changed, "changed", out)
        }
        Command::Rotate { name, keep, secret } => {
            let (secret, new) = secret_from(secret.as_deref())?;
            let rotate = SubscriptionRotate { name, secret: secret.clone(), keep_ms: keep.ms };
            let rotated = session
                .call(|rpc, context, call| {
                    let rotate = rotate.clone();
                    async move { rpc.subscription_rotate(context, call, rotate).await }
                })
                .await?;
            with_secret(&rotated, new.then_some(secret.as_str()), "has a new secret", out)
        }
        Command::Enable { name } => switch(name, true, session, out).await,
        Command::Disable { name } => switch(name, false, session, out).await,
        Command::Delete { name } => {
            let removed = session
                .call(|rpc, context, call| {
                    let name = name.clone();
                    async move { rpc.subscription_delete(context, call, name).await }
                })
                .await?;
            super::flow::bin::removed(&removed, out)
        }
        Command::Restore { name } => {
            let row = session
                .call(|rpc, context, call| {
                    let name = name.clone();
                    async move { rpc.subscription_restore(context, call, name).await }
                })
                .await?;
            said(&row, "restored; it is disabled until somebody enables it", out)
        }
        Command::Test { name, kind, data } => test(name, kind, data, session, out).await,
        Command::Sendings(list) => sendings::list(list, session, out).await,
        Command::Attempts { name, message } => sendings::attempts(name, &message, session, out).await,
        Command::Resend(again) => sendings::resend(again, session, out).await,
        Command::Recover(recover) => sendings::recover(recover, session, out).await,
        Command::GiveUp { name, message } => sendings::give_up(name, &message, session, out).await,
    }
}

async fn put_it(put: SubscriptionPut, session: &mut Session) -> Result<Subscription, WireError> {
    session
        .call(|rpc, context, call| {
            let put = put.clone();
            async move { rpc.subscription_put(context, call, put).await }
        })
        .await
}

async fn one(name: String, session: &mut Session) -> Result<Subscription, WireError> {
    let query = SubscriptionQuery { name: Some(name), after: None };
    let page = session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.subscription_list(context, call, query).await }
        })
        .await?;
    page.subscriptions.into_iter().next().ok_or_else(|| WireError::internal("the daemon gave no subscription"))
}

async fn list(session: &mut Session, out: &mut Output) -> Ended {
    let mut all: Vec<Subscription> = Vec::new();
    let mut query = SubscriptionQuery::default();
    loop {
        let page = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.subscription_list(context, call, query).await }
            })
            .await?;
        all.extend(page.subscriptions);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if out.json {
        for row in &all {
            out.value(row)?;
        }
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|row| {
            let state = state(&row, |at| times::full(at, &out.zone));
            let waiting = row.health.waiting.to_string();
            vec![row.name, state, waiting, row.customer.unwrap_or_default(), row.types.join(","), row.url]
        })
        .collect();
    out.table(&["NAME", "STATE", "WAITING", "CUSTOMER", "TYPES", "URL"], &rows)?;
    Ok(0)
}

/// How a subscription fares, in a few words of safe text.
#[must_use]
pub fn state(row: &Subscription, moment: impl Fn(i64) -> String) -> String {
    match (row.enabled, row.health.disabled, row.health.failing_since_ms) {
        (_, Some((at, cause)), _) => format!("disabled {}: {}", moment(at), cause.text()),
        (false, None, _) => "off".to_owned(),
        (true, None, Some(since)) => format!("failing since {}", moment(since)),
        (true, None, None) => "on".to_owned(),
    }
}

fn show(row: &Subscription, out: &mut Output) -> Result<(), WireError> {
    let moment = |at| times::full(at, &out.zone);
    let mut lines = vec![
        format!("{}  {}", row.name, state(row, moment)),
        format!("url        {}", row.url),
        format!("types      {}", row.types.join(", ")),
    ];
    if let Some(customer) = &row.customer {
        lines.push(format!("customer   {customer}"));
    }
    if !row.note.is_empty() {
        lines.push(format!("note       {}", row.note));
    }
    lines.extend(row.headers.iter().map(|header| format!("header     {}: {}", header.name, header.value)));
    if let Some(rate) = &row.rate {
        lines.push(format!("rate       {rate}"));
    }
    if row.ordered {
        lines.push("ordered    the next is sent only when the one before is over".to_owned());
    }
    if let Some(until) = row.rotating_until_ms {
        lines.push(format!("secret     the one before signs too until {}", moment(until)));
    }
    let next = row.health.next_ms.map(|at| format!(", the next attempt {}", moment(at))).unwrap_or_default();
    lines.push(format!("waiting    {}{next}", row.health.waiting));
    if let Some(at) = row.health.last_success_ms {
        lines.push(format!("succeeded  {}", moment(at)));
    }
    lines.push(format!("created    {}", moment(row.created_ms)));
    lines.iter().try_for_each(|line| out.line(&display(line)))
}

/// The secret stands alone on standard output's last line, so that it can be copied or cut.
fn with_secret(row: &Subscription, secret: Option<&str>, what: &str, out: &mut Output) -> Ended {
    if out.json {
        return out.value(&Shown { subscription: row, secret }).map(|()| 0);
    }
    out.line(&display(&format!("{} {what}", row.name)))?;
    if row.url.starts_with("http://") {
        note("its address is http: whoever is on the way can read what is sent");
    }
    if let Some(secret) = secret {
        note("its secret, shown only now; the receiver verifies with it (see docs/outgoing.md):");
        out.line(secret)?;
    }
    Ok(0)
}

fn said(row: &Subscription, what: &str, out: &mut Output) -> Ended {
    if out.json {
        out.value(row)?
    } else {
        out.line(&display(&format!("{} {what}", row.name)))?
    }
    Ok(0)
}

async fn switch(name: String, enabled: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = SubscriptionEnable { name, enabled };
    let row = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.subscription_enable(context, call, request).await }
        })
        .await?;
    said(&row, if enabled { "enabled" } else { "disabled" }, out)
}

async fn test(
    name: String,
    kind: Option<String>,
    data: Option<String>,
    session: &mut Session,
    out: &mut Output,
) -> Ended {
    let data = data.as_deref().map(read).transpose()?;
    let request = SubscriptionTest { name, kind, data };
    let detail = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.subscription_test(context, call, request).await }
        })
        .await?;
    let taken = detail.sending.state == SendingState::Succeeded;
    if out.json {
        out.value(&detail)?;
    } else {
        out.line(&outcome(&detail.sending))?;
        if let Some(attempt) = detail.sending.attempts.last().filter(|attempt| !attempt.answer.is_empty()) {
            out.line(aura_protocol::text::display_lines(&attempt.answer).trim_end())?;
        }
    }
    Ok(u8::from(!taken))
}

/// What the last attempt of a sending came to, in one line of safe text.
#[must_use]
pub fn outcome(sending: &Sending) -> String {
    let Some(last) = sending.attempts.last() else { return "not attempted yet".to_owned() };
    let took = times::took(i64::from(last.took_ms));
    display(&match last.status {
        Some(status) if last.error.is_empty() || last.error.ends_with(&format!("status {status}")) => {
            format!("status {status} after {took}")
        }
        Some(status) => format!("status {status} after {took}: {}", last.error),
        None => format!("{} ({took})", last.error),
    })
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn a_secret_is_made_or_read_and_never_the_same_twice() {
        let (one, new) = secret_from(None).unwrap();
        assert!(new && aura_protocol::outgoing::check_secret(&one).is_ok());
        assert_ne!(secret_from(None).unwrap().0, one);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{one}\n")).unwrap();
        assert_eq!(secret_from(Some(&format!("@{}", path.display()))).unwrap(), (one, false));
    }

    #[test]
    fn headers_are_read_and_others_refused() {
        let found = header("X-A=b=c", false).unwrap();
        assert_eq!((found.name.as_str(), found.value.as_str(), found.secret), ("X-A", "b=c", false));
        assert!(header("nothing", false).is_err());
        assert!(header("X-A=@/nowhere/at/all", true).is_err());
    }
}
