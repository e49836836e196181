//! Snapshots of both screens: plain at four sizes; colour, mono and ASCII at 80 by 24.

use aura_protocol::run::Record;
use ratatui::style::{Color, Modifier, Style};

use super::{app, buffer, press, text};
use crate::app::App;
use crate::fixture;
use crate::glyphs::Glyphs;
use crate::look::Look;
use crate::store::Store;
use crate::theme::Theme;

const SIZES: [(u16, u16); 4] = [(60, 16), (80, 24), (120, 40), (200, 60)];

fn dressed(store: Store, theme: Theme, glyphs: Glyphs) -> App {
    let mut app = App::new(Look { glyphs, ..fixture::look(theme) });
    app.store = store;
    app
}

/// On the failed refund.
fn on_run(app: &mut App) {
    press(app, "/");
    super::write(app, "s:failed");
    press(app, "enter enter");
    app.store.detail = Some(fixture::detail());
}

/// A frame's text and below it the styles of each row, as runs of cells.
fn with_styles(app: &mut App) -> String {
    let plain = text(app, 80, 24);
    let buffer = buffer(app, 80, 24);
    let mut out = plain;
    for y in 0..24 {
        let mut runs: Vec<(u16, u16, Style)> = Vec::new();
        for x in 0..80 {
            let style = buffer[(x, y)].style();
            match runs.last_mut() {
                Some((_, end, last)) if *last == style => *end = x,
                _ => runs.push((x, x, style)),
            }
        }
        let words: Vec<String> = runs
            .iter()
            .filter(|(_, _, style)| style.fg != Some(Color::Reset) || !style.add_modifier.is_empty())
            .map(|(from, to, style)| {
                let colour = style.fg.filter(|fg| *fg != Color::Reset).map_or(String::new(), |fg| format!(" {fg}"));
                let how = if style.add_modifier == Modifier::empty() {
                    String::new()
                } else {
                    format!(" {:?}", style.add_modifier)
                };
                format!("{from}-{to}{colour}{how}")
            })
            .collect();
        if !words.is_empty() {
            out.push_str(&format!("{y:>2}: {}\n", words.join(", ")));
        }
    }
    out
}

#[test]
fn runs_at_all_sizes() {
    for (width, height) in SIZES {
        insta::assert_snapshot!(format!("runs-{width}x{height}"), text(&mut app(fixture::store()), width, height));
    }
}

#[test]
fn a_handled_failure_is_no_open_wound_and_nothing_is_cut_at_100_columns() {
    let mut app = app(fixture::open());
    on_run(&mut app);
    let mut detail = fixture::detail();
    let last = detail.journal.last_mut().unwrap();
    last.records.truncate(1);
    last.records.push(Record::Handled { path: "post_refund".to_owned(), output: "asked again".into() });
    app.store.detail = Some(detail);
    let seen = text(&mut app, 100, 30);
    assert!(seen.contains("! handled     post_refund  http"), "{seen}");
    assert!(!seen.contains("✗ failed      post_refund"), "{seen}");
    press(&mut app, "G i");
    let seen = text(&mut app, 100, 30);
    assert!(seen.contains("no input: not a call, or not begun"), "{seen}");
}

#[test]
fn run_at_all_sizes() {
    for (width, height) in SIZES {
        let mut app = app(fixture::open());
        on_run(&mut app);
        insta::assert_snapshot!(format!("run-{width}x{height}"), text(&mut app, width, height));
    }
}

#[test]
fn items_losers_and_what_is_undone_are_told_apart() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut app = app(fixture::open());
        on_run(&mut app);
        app.store.detail = Some(fixture::items());
        insta::assert_snapshot!(format!("run-items-{width}x{height}"), text(&mut app, width, height));
    }
}

#[test]
fn flows_flow_and_events_at_all_sizes() {
    for (width, height) in SIZES {
        for (name, open) in SCREENS {
            let mut app = app(fixture::catalog());
            open(&mut app);
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), text(&mut app, width, height));
        }
    }
}

/// A screen's name and how to get there.
type Way = (&'static str, fn(&mut App));

/// The newer screens.
const SCREENS: [Way; 7] = [
    ("flows", |app| drop(press(app, "2 j j j j"))),
    ("flow", |app| drop(press(app, "2 j j j j enter"))),
    ("events", |app| drop(press(app, "3 j"))),
    ("schedules", |app| drop(press(app, "4"))),
    ("hooks", |app| drop(press(app, "5 tab j"))),
    ("hook", |app| drop(press(app, "5 tab j enter"))),
    ("subscriptions", |app| drop(press(app, "6 tab j j"))),
];

#[test]
fn the_newer_screens_in_colour_mono_and_ascii() {
    let dresses = [
        ("colour", Theme::Sixteen, Glyphs::BOX),
        ("mono", Theme::Mono, Glyphs::BOX),
        ("ascii", Theme::Mono, Glyphs::ASCII),
    ];
    for (name, theme, glyphs) in dresses {
        for (screen, open) in SCREENS {
            let mut app = dressed(fixture::catalog(), theme, glyphs);
            open(&mut app);
            insta::assert_snapshot!(format!("{screen}-{name}"), with_styles(&mut app));
        }
    }
}

#[test]
fn the_command_log_shows_twins_and_their_outcome() {
    let mut app = app(fixture::catalog());
    press(&mut app, "@ 2 j j s y");
    let row = app.store.catalog.rows.values().nth(2).unwrap().clone();
    app.handle(crate::event::Event::Link(Box::new(crate::event::Reply::Changed(row, "takes no events"))));
    press(&mut app, "3");
    insta::assert_snapshot!("command-log-80x24", text(&mut app, 80, 24));
    assert!(!text(&mut app, 60, 16).contains("command log"), "a small screen keeps its rows");
    press(&mut app, "@");
    assert!(!text(&mut app, 80, 24).contains("command log"));
}

#[test]
fn both_in_colour_mono_and_ascii() {
    let dresses = [
        ("colour", Theme::Sixteen, Glyphs::BOX),
        ("mono", Theme::Mono, Glyphs::BOX),
        ("ascii", Theme::Mono, Glyphs::ASCII),
    ];
    for (name, theme, glyphs) in dresses {
        let mut app = dressed(fixture::open(), theme, glyphs);
        insta::assert_snapshot!(format!("runs-{name}"), with_styles(&mut app));
        on_run(&mut app);
        insta::assert_snapshot!(format!("run-{name}"), with_styles(&mut app));
    }
}

#[test]
fn mono_frames_use_no_colour_and_ascii_frames_no_byte_above_127() {
    let mut app = dressed(fixture::open(), Theme::Mono, Glyphs::ASCII);
    let mut canvas = crate::term::Canvas::new(true);
    for _ in 0..2 {
        let bytes = canvas.frame((80, 24), |buf, area| app.draw(buf, area)).unwrap().unwrap();
        assert!(bytes.is_ascii());
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("\u{1b}[38;5;"), "{text:?}");
        on_run(&mut app);
        canvas.forget();
    }
}

#[test]
fn no_size_breaks_the_layout() {
    for width in (1..70).chain([95, 96, 97, 140, 200]) {
        for height in (1..30).chain([60]) {
            let mut app = app(fixture::open());
            text(&mut app, width, height);
            on_run(&mut app);
            text(&mut app, width, height);
            press(&mut app, "tab ? z");
            text(&mut app, width, height);
            press(&mut app, "esc");
            app.store = fixture::catalog();
            for keys in ["2", "enter", "tab z", "3 @", "tab", "z", ":", "esc"] {
                press(&mut app, keys);
                text(&mut app, width, height);
            }
            let said = crate::commands::Finished { line: "x".into(), code: Some(1), output: "a\nb".repeat(40) };
            app.handle(crate::event::Event::Finished(Box::new(said)));
            text(&mut app, width, height);
        }
    }
}

#[test]
fn a_demo_tells_its_story_below_the_list() {
    let mut app = app(fixture::store());
    for line in
        ["14:00:00  webhook  Shopify sends checkouts/update", "15:00:00  clock    +1 h", "15:00:00  run      started"]
    {
        app.handle(crate::event::Event::Notice(line.to_owned()));
    }
    insta::assert_snapshot!("story-80x24", text(&mut app, 80, 24));
}

#[test]
fn overlays() {
    let mut help = app(fixture::store());
    press(&mut help, "?");
    insta::assert_snapshot!("help-80x24", text(&mut help, 80, 24));
    let mut palette = app(fixture::store());
    press(&mut palette, ":");
    // Words that no command has, or each new one would change this frame.
    super::write(&mut palette, "refund-sync f");
    insta::assert_snapshot!("palette-80x24", text(&mut palette, 80, 24));
    let mut start = app(fixture::catalog());
    press(&mut start, "2 j j r");
    super::write(&mut start, "{\"id\": 7}");
    insta::assert_snapshot!("start-80x24", text(&mut start, 80, 24));
    let mut line = app(fixture::catalog());
    press(&mut line, ":");
    super::write(&mut line, "flow publish");
    press(&mut line, "enter");
    insta::assert_snapshot!("line-80x24", text(&mut line, 80, 24));
    let said = crate::commands::Finished {
        line: "doctor".into(),
        code: Some(1),
        output: "fail  disk: \u{1b}[31mfull\nok    clock: it is noon\n".into(),
    };
    line.handle(crate::event::Event::Finished(Box::new(said)));
    insta::assert_snapshot!("output-80x24", text(&mut line, 80, 24));
}

#[test]
fn the_part_of_a_flow_to_simulate_is_chosen_from_its_steps() {
    for (width, height) in [(60, 16), (80, 24)] {
        let mut app = app(fixture::catalog());
        press(&mut app, "2 j j j j enter");
        app.store.catalog.open.as_mut().unwrap().detail.draft = Some(fixture::TRIABLE.to_owned());
        press(&mut app, "t j j");
        insta::assert_snapshot!(format!("part-{width}x{height}"), text(&mut app, width, height));
    }
}

#[test]
fn a_replay_shows_what_it_would_send() {
    let (request, preview) = fixture::replay();
    for (width, height) in [(80, 24), (120, 40)] {
        let mut app = app(fixture::store());
        on_run(&mut app);
        let reply = crate::event::Reply::Preview(Box::new(preview.clone()), Box::new(request.clone()));
        app.handle(crate::event::Event::Link(Box::new(reply)));
        insta::assert_snapshot!(format!("replay-{width}x{height}"), text(&mut app, width, height));
    }
}
