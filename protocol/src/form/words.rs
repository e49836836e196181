//! What a form's page says by itself, in each language that it speaks.
//!
//! Invariant: a page is in one language: its `lang` and every sentence of ours on it. A language is one more entry.

/// The sentences of one language. `{}` stands for a number or a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// Language tag (BCP 47), as the page's `lang`.
    pub lang: &'static str,
    /// The button.
    pub send: &'static str,
    /// Beside the label of a field that may be left out.
    pub optional: &'static str,
    /// An empty choice.
    pub choose: &'static str,
    /// Heading over what is wrong.
    pub wrong: &'static str,
    /// Before the title of a page with mistakes.
    pub error: &'static str,
    /// Heading once it is taken.
    pub thanks: &'static str,
    /// Below it, unless the form says something else.
    pub taken: &'static str,
    /// The hidden field that only programs fill in.
    pub leave_empty: &'static str,
    /// A field without an answer.
    pub missing: &'static str,
    /// A box that must be ticked.
    pub tick: &'static str,
    /// Too long, in characters.
    pub too_long: &'static str,
    /// No e-mail address.
    pub email: &'static str,
    /// No number.
    pub number: &'static str,
    /// Less than the least.
    pub at_least: &'static str,
    /// More than the greatest.
    pub at_most: &'static str,
    /// No day.
    pub date: &'static str,
    /// None of the options.
    pub option: &'static str,
    /// The page was open for too long.
    pub old: &'static str,
    /// What looks like a program.
    pub again: &'static str,
    /// There is no room now.
    pub busy: &'static str,
    /// Too many from one place.
    pub many: &'static str,
    /// It came from another site's page.
    pub elsewhere: &'static str,
    /// There is no such form.
    pub none: &'static str,
    /// What is typed is too much.
    pub large: &'static str,
}

impl Words {
    /// All languages.
    pub const ALL: &'static [Self] = &[
        Self {
            lang: "en",
            send: "Send",
            optional: "optional",
            choose: "Please choose",
            wrong: "There is a problem",
            error: "Error: ",
            thanks: "Thank you",
            taken: "What you sent has arrived.",
            leave_empty: "Leave this empty",
            missing: "Please fill this in",
            tick: "Please tick this box",
            too_long: "Please write at most {} characters",
            email: "Please write an e-mail address, as in name@example.com",
            number: "Please write a number",
            at_least: "Please write {} or more",
            at_most: "Please write {} or less",
            date: "Please write a day, as in 2026-05-31",
            option: "Please choose one of the options",
            old: "This page was open for a long time. Please look at what you wrote and send it again.",
            again: "This could not be taken. Please send it again.",
            busy: "This cannot be taken right now. Nothing was sent; please try again in a moment.",
            many: "Too much was sent from here in a short time. Please try again in a minute.",
            elsewhere: "This was sent from another page. Please send it from here.",
            none: "There is no such form",
            large: "What was sent is too large.",
        },
        Self {
            lang: "de",
            send: "Absenden",
            optional: "freiwillig",
            choose: "Bitte auswählen",
            wrong: "Bitte prüfen Sie Ihre Angaben",
            error: "Fehler: ",
            thanks: "Vielen Dank",
            taken: "Ihre Angaben sind angekommen.",
            leave_empty: "Bitte leer lassen",
            missing: "Bitte ausfüllen",
            tick: "Bitte ankreuzen",
            too_long: "Bitte höchstens {} Zeichen",
            email: "Bitte eine E-Mail-Adresse angeben, etwa name@example.com",
            number: "Bitte eine Zahl angeben",
            at_least: "Bitte {} oder mehr angeben",
            at_most: "Bitte {} oder weniger angeben",
            date: "Bitte einen Tag angeben, etwa 2026-05-31",
            option: "Bitte eine der Möglichkeiten wählen",
            old: "Diese Seite war lange geöffnet. Bitte prüfen Sie Ihre Angaben und senden Sie sie noch einmal ab.",
            again: "Das konnte nicht angenommen werden. Bitte senden Sie es noch einmal ab.",
            busy: "Das kann gerade nicht angenommen werden. Es wurde nichts gesendet; bitte versuchen Sie es gleich noch einmal.",
            many: "Von hier wurde in kurzer Zeit zu viel gesendet. Bitte versuchen Sie es in einer Minute noch einmal.",
            elsewhere: "Das kam von einer anderen Seite. Bitte senden Sie es von hier ab.",
            none: "Dieses Formular gibt es nicht",
            large: "Das ist zu viel auf einmal.",
        },
    ];

    /// The sentences of a language.
    #[must_use]
    pub fn of(lang: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|words| words.lang == lang)
    }
}
