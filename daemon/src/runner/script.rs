//! Runs one script: an engine of its own, with limits of memory, stack and time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::context::EvalOptions;
use rquickjs::promise::MaybePromise;
use rquickjs::{CaughtError, Context, Ctx, Error, Function, Runtime, Value};

use super::wire::{Answer, Fault, Job, LINE_MAX, LINES_MAX, VALUE_MAX};

/// Bytes that the engine of one script may hold.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Bytes of its stack.
const STACK_MAX: usize = 512 * 1024;
/// The name of the script in errors.
const NAME: &str = "code";
const PRELUDE: &str = include_str!("prelude.js");

/// Runs it to its end, or to one of its limits.
#[must_use]
pub fn run(job: &Job) -> Answer {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let outcome = outcome(job, &lines);
    Answer { outcome, lines: lines.take() }.bounded()
}

fn outcome(job: &Job, lines: &Rc<RefCell<Vec<String>>>) -> Result<String, (Fault, String)> {
    let engine = |error: Error| (Fault::Memory, format!("the script could not be started: {error}"));
    let runtime = Runtime::new().map_err(engine)?;
    runtime.set_memory_limit(MEMORY_MAX);
    runtime.set_max_stack_size(STACK_MAX);
    let begun = Instant::now();
    let time = Duration::from_millis(job.time_ms);
    runtime.set_interrupt_handler(Some(Box::new(move || begun.elapsed() >= time)));
    let context = Context::full(&runtime).map_err(engine)?;
    context.with(|ctx| {
        evaluate(&ctx, job, lines).map_err(|error| {
            if begun.elapsed() >= time {
                return Answer::late(job).outcome.err().unwrap_or((Fault::Time, String::new()));
            }
            explained(&ctx, error)
        })
    })
}

/// Why an evaluation ended without a value.
enum Ended {
    Thrown(Error),
    Output(String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Thrown(error)
    }
}

fn evaluate(ctx: &Ctx<'_>, job: &Job, lines: &Rc<RefCell<Vec<String>>>) -> Result<String, Ended> {
    let printed = Rc::clone(lines);
    let say = Function::new(ctx.clone(), move |mut line: String| {
        let mut lines = printed.borrow_mut();
        if lines.len() < LINES_MAX {
            // Not kept whole until the end: a hundred of them are many.
            line.truncate(line.floor_char_boundary(LINE_MAX));
            lines.push(line);
        }
    })?;
    let prepare: Function<'_> = ctx.eval(PRELUDE)?;
    let clock = job.now_ms as f64;
    prepare.call::<_, ()>((clock, f64::from(job.seed), say))?;
    let mut options = EvalOptions::default();
    options.strict = true;
    options.filename = Some(NAME.to_owned());
    // No line before the script's first, so that the lines in its errors are its own.
    let source = format!("(async function (input) {{ {}\n}})", job.js);
    let script: Function<'_> = ctx.eval_with_options(source, options)?;
    let input = ctx.json_parse(job.input.as_str())?;
    let returned: MaybePromise<'_> = script.call((input,))?;
    let value: Value<'_> = returned.finish().map_err(|error| match error {
        Error::WouldBlock => Ended::Output("the script waits for something that never comes".to_owned()),
        other => Ended::Thrown(other),
    })?;
    if value.is_function() || value.is_symbol() {
        return Err(Ended::Output(format!("the script returned a {}, which is no data", value.type_name())));
    }
    let Some(json) = ctx.json_stringify(value)? else { return Ok("null".to_owned()) };
    let json = json.to_string()?;
    if json.len() > VALUE_MAX {
        let message = format!("the script returned {} bytes, the most is {VALUE_MAX}", json.len());
        return Err(Ended::Output(message));
    }
    Ok(json)
}

/// What a script threw, in one sentence with its line.
fn explained(ctx: &Ctx<'_>, ended: Ended) -> (Fault, String) {
    let error = match ended {
        Ended::Output(message) => return (Fault::Output, message),
        Ended::Thrown(error) => error,
    };
    if matches!(error, Error::Allocation) {
        return (Fault::Memory, memory());
    }
    match CaughtError::from_error(ctx, error) {
        CaughtError::Exception(exception) => {
            let message = exception.message().unwrap_or_default();
            let name: String = exception.get("name").unwrap_or_default();
            if name == "InternalError" && message.contains("out of memory") {
                return (Fault::Memory, memory());
            }
            let stack = exception.stack().unwrap_or_default();
            let line = stack.lines().find_map(line_of).map(|line| format!(", line {line}")).unwrap_or_default();
            (Fault::Script, format!("the script failed{line}: {name}: {message}"))
        }
        CaughtError::Value(value) if value.is_null() => (Fault::Memory, memory()),
        CaughtError::Value(value) => {
            let shown = ctx.json_stringify(value).ok().flatten().and_then(|text| text.to_string().ok());
            (Fault::Script, format!("the script threw {}", shown.unwrap_or_else(|| "something".to_owned())))
        }
        CaughtError::Error(error) => (Fault::Script, format!("the script failed: {error}")),
    }
}

fn memory() -> String {
    format!("the script took more than {} MiB of memory", MEMORY_MAX >> 20)
}

/// The line in a frame of a stack, as in `at f (code:3:7)`.
fn line_of(frame: &str) -> Option<u32> {
    let (_, place) = frame.rsplit_once("code:")?;
    place.split([':', ')']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(js: &str, input: &str) -> Answer {
        ran_for(js, input, 20_000)
    }

    fn ran_for(js: &str, input: &str, time_ms: u64) -> Answer {
        run(&Job { js: js.to_owned(), input: input.to_owned(), now_ms: 1_700_000_000_000, seed: 7, time_ms })
    }

    #[test]
    fn scripts_return_what_they_say() {
        let cases = [
            ("return 1 + 1", "null", "2"),
            ("return input.a.map(x => x * 2)", "{\"a\":[1,2]}", "[2,4]"),
            ("return await Promise.resolve(input)", "\"x\"", "\"x\""),
            ("", "1", "null"),
            ("return undefined", "1", "null"),
            ("return Date.now() === new Date().getTime() && Date.now()", "1", "1700000000000"),
            ("return new Date(0).toISOString()", "1", "\"1970-01-01T00:00:00.000Z\""),
            ("return [Math.random() < 1, Math.random() === Math.random()]", "1", "[true,false]"),
            ("return 0.1 + 0.2", "1", "0.30000000000000004"),
            ("return {a: undefined, b: NaN}", "1", "{\"b\":null}"),
            (
                "return typeof require + typeof process + typeof fetch + typeof std",
                "1",
                "\"undefinedundefinedundefinedundefined\"",
            ),
        ];
        for (js, input, expected) in cases {
            assert_eq!(ran(js, input).outcome, Ok(expected.to_owned()), "{js}");
        }
        assert_eq!(ran("return Math.random()", "1").outcome, ran("return Math.random()", "1").outcome);
    }

    #[test]
    fn a_script_that_fails_says_where_and_why() {
        let cases = [
            ("\n\nthrow new Error('no stock')", Fault::Script, "the script failed, line 3: Error: no stock"),
            ("return input.a.b", Fault::Script, "line 1: TypeError: cannot read property 'b' of undefined"),
            ("let a = ;", Fault::Script, "SyntaxError"),
            ("throw {code: 4}", Fault::Script, "the script threw {\"code\":4}"),
            ("return () => 1", Fault::Output, "which is no data"),
            ("return new Promise(() => {})", Fault::Output, "never comes"),
            ("const a = {}; a.a = a; return a", Fault::Script, "circular"),
            ("return 10n", Fault::Script, "BigInt"),
            ("while (true) {}", Fault::Time, "longer than 300 ms"),
            ("await (async () => { while (true) {} })()", Fault::Time, "longer than 300 ms"),
            ("const a = []; while (true) a.push(new Array(100000).fill(1))", Fault::Memory, "64 MiB"),
            ("return 'x'.repeat(200 * 1024 * 1024)", Fault::Memory, "64 MiB"),
            ("return 'x'.repeat(9 * 1024 * 1024)", Fault::Output, "the most is"),
            ("function f() { return f() + 1 } return f()", Fault::Script, "RangeError"),
        ];
        for (js, fault, says) in cases {
            // Only what never ends has little time: a busy machine is no reason to fail another way.
            let time_ms = if fault == Fault::Time { 300 } else { 20_000 };
            let (met, message) = ran_for(js, "{}", time_ms).outcome.expect_err(js);
            assert!(met == fault && message.contains(says), "{js}: {met:?} {message}");
        }
    }

    #[test]
    fn printed_lines_come_back_and_have_limits() {
        let answer = ran("console.log('a', 1, {b: [null]}); console.error('x'.repeat(5000)); return 1", "1");
        assert_eq!(answer.lines.first().map(String::as_str), Some("a 1 {\"b\":[null]}"));
        assert_eq!(answer.lines.get(1).map(String::len), Some(LINE_MAX));
        let answer = ran("for (let i = 0; i < 1000; i++) console.log(i); return 1", "1");
        assert_eq!(answer.lines.len(), LINES_MAX);
    }

    #[test]
    fn what_a_script_says_of_its_failure_has_an_end() {
        let (fault, message) = ran("throw new Error('x'.repeat(15e6))", "1").outcome.unwrap_err();
        assert_eq!((fault, message.len()), (Fault::Script, crate::runner::wire::MESSAGE_MAX));
        let forged = Answer { outcome: Err((Fault::Script, "é".repeat(9_000))), lines: vec!["y".repeat(9_000); 900] };
        let read = Answer::from_frame(forged.to_frame().get(4..).unwrap()).unwrap();
        assert!(read.outcome.unwrap_err().1.len() <= crate::runner::wire::MESSAGE_MAX);
        assert!(read.lines.len() == LINES_MAX && read.lines.iter().all(|line| line.len() == LINE_MAX));
    }

    #[test]
    fn nothing_of_one_script_is_seen_by_the_next() {
        let answer = ran("globalThis.kept = 1; Object.prototype.evil = 2; JSON.parse = null; return 1", "1");
        assert!(answer.outcome.is_ok());
        assert_eq!(ran("return [typeof kept, ({}).evil ?? null]", "1").outcome, Ok("[\"undefined\",null]".to_owned()));
    }
}
