//! Tokens to tree: precedence climbing, with recursion and the height of the tree limited.
//!
//! Names are settled here: lambda parameters become slots, functions their entries, so that an unknown
//! name, a wrong number of arguments or a bad regular expression is refused when a flow is checked.

use super::ast::{Binary, HEIGHT_MAX, Item, Kind, Pattern, Property, Term};
use super::functions::{self, Function};
use super::lexer::{Fault, Lexer, Token};
use super::number::Number;
use super::suggest::closest;

/// Deepest nesting of parentheses, arguments and branches.
const DEPTH_MAX: u32 = 48;
/// The names that an expression can begin with.
pub(crate) const ROOTS: &[&str] = &["input", "trigger", "steps", "item", "index", "vars", "env", "run", "error"];
/// Prefixes of functions.
const PREFIXES: &[&str] = &["Math", "JSON", "Object", "Array", "Number", "Date"];
/// Largest compiled regular expression, in bytes.
const REGEX_BYTES: usize = 256 * 1024;

/// Regular expressions in one expression: each holds memory of its own.
const REGEXES_MAX: usize = 8;

/// Words of JavaScript and n8n that mean nothing here, with what to write.
const FOREIGN: &[(&str, &str)] = &[
    ("new", "write `date(x)` for `new Date(x)` and `now()` for `new Date()`"),
    ("typeof", "ask with `Array.isArray(x)`, `Number.isInteger(x)` or `x == null`"),
    ("undefined", "compare with `null`; a path that may be missing is written `a?.b`"),
    ("function", "write `x => …`"),
    ("return", "an expression is its own result"),
    ("let", "an expression defines no names"),
    ("const", "an expression defines no names"),
    ("var", "an expression defines no names"),
    ("await", "expressions wait for nothing"),
    ("this", "name what you mean: `trigger`, `steps.x`, `item`"),
    ("DateTime", "write `date(x)`, `parseDate(x, format)` or `now()`"),
    ("NaN", "there is no such number here"),
    ("Infinity", "there is no such number here"),
    ("$json", "write `trigger.body`, or `steps.x.output` for the output of a step"),
    ("$input", "write `trigger.body`, or `steps.x.output` for the output of a step"),
    ("$now", "write `now()`"),
    ("$today", "write `now().startOf('day')`"),
    ("$term", "write `steps.x.output`"),
    ("$", "write `steps.x.output`"),
    ("$env", "write `env`"),
    ("$vars", "write `vars`"),
];

pub(super) struct Parser<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    /// Where the current token begins, and where the one before it ended.
    at: usize,
    before: usize,
    depth: u32,
    locals: Vec<&'s str>,
    /// Names besides the roots: what maps around call their items (`as`).
    names: &'s [&'s str],
    /// Regular expressions so far.
    regexes: usize,
}

type Parsed<T = Term> = Result<T, Fault>;

/// Reads one expression of `text` from `at`; gives the tree and the offset behind it.
pub(super) fn parse<'s>(text: &'s str, at: usize, names: &'s [&'s str]) -> Parsed<(Term, usize)> {
    let lexer = Lexer { text, at };
    let mut parser =
        Parser { lexer, token: Token::End, at, before: at, depth: 0, locals: Vec::new(), names, regexes: 0 };
    parser.advance()?;
    let term = parser.expression()?;
    // `}}` ends an expression in text; the caller looks for it from here.
    Ok((term, parser.at))
}

impl<'s> Parser<'s> {
    fn advance(&mut self) -> Parsed<()> {
        self.before = self.lexer.at;
        self.lexer.space();
        self.at = self.lexer.at;
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(found) if found == mark)
    }

    fn eat(&mut self, mark: &str) -> Parsed<bool> {
        let here = self.is(mark);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    fn expect(&mut self, mark: &str, after: &str) -> Parsed<()> {
        if self.eat(mark)? {
            return Ok(());
        }
        Err(Fault::new(self.at, format!("expected `{mark}` {after}, found {}", self.token.shown())))
    }

    /// A term with its height checked, so that no tree is too high to walk.
    fn term(&self, at: usize, kind: Kind) -> Parsed {
        let mut height = 0;
        kind.children(&mut |child| height = height.max(child.height));
        if height >= HEIGHT_MAX {
            return Err(Fault::new(at, "the expression is nested too deeply").hint("take it apart in a `set` step"));
        }
        Ok(Term { at: u32::try_from(at).unwrap_or(u32::MAX), height: height + 1, kind })
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(
                Fault::new(self.at, "the expression is nested too deeply").hint("take it apart in a `set` step")
            );
        }
        let term = self.ternary();
        self.depth -= 1;
        term
    }

    fn ternary(&mut self) -> Parsed {
        let at = self.at;
        let condition = self.binary(0)?;
        if !self.eat("?")? {
            return Ok(condition);
        }
        let yes = self.expression()?;
        self.expect(":", "between the two results of `?`")?;
        let no = self.expression()?;
        self.term(at, Kind::Choose(Box::new(condition), Box::new(yes), Box::new(no)))
    }

    fn binary(&mut self, least: u8) -> Parsed {
        let at = self.at;
        let opened = self.is("(");
        let mut left = self.unary()?;
        let mut wrapped = opened && !matches!(left.kind, Kind::Field { .. } | Kind::Index { .. } | Kind::Call { .. });
        while let Token::Mark(mark) = self.token {
            let Some(level) = level(mark) else { break };
            if level < least {
                break;
            }
            let here = self.at;
            self.advance()?;
            let right_opened = self.is("(");
            let right = self.binary(level + 1)?;
            let mixes = |term: &Term, wrapped: bool| {
                !wrapped
                    && matches!(
                        (mark, &term.kind),
                        ("??", Kind::And(..) | Kind::Or(..)) | ("&&" | "||", Kind::Coalesce(..))
                    )
            };
            if mixes(&left, wrapped) || mixes(&right, right_opened) {
                let message = "`??` and `&&` or `||` stand together without parentheses";
                return Err(Fault::new(here, message).hint("write `(a ?? b) || c` or `a ?? (b || c)`"));
            }
            let (one, two) = (Box::new(left), Box::new(right));
            let operation = |operator| move |one, two| Kind::Binary(operator, one, two);
            let kind = match mark {
                "??" => Kind::Coalesce(one, two),
                "||" => Kind::Or(one, two),
                "&&" => Kind::And(one, two),
                "==" | "===" => operation(Binary::Equal)(one, two),
                "!=" | "!==" => operation(Binary::Unequal)(one, two),
                "<" => operation(Binary::Less)(one, two),
                "<=" => operation(Binary::LessEqual)(one, two),
                ">" => operation(Binary::Greater)(one, two),
                ">=" => operation(Binary::GreaterEqual)(one, two),
                "+" => operation(Binary::Add)(one, two),
                "-" => operation(Binary::Subtract)(one, two),
                "*" => operation(Binary::Multiply)(one, two),
                "/" => operation(Binary::Divide)(one, two),
                _ => operation(Binary::Remainder)(one, two),
            };
            left = self.term(at, kind)?;
            wrapped = false;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at;
        let Token::Mark(mark @ ("!" | "-" | "+")) = self.token else { return self.postfix() };
        if mark == "+" {
            return Err(Fault::new(at, "`+` in front of a value is not part of expressions").hint("write `Number(x)`"));
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::new(at, "the expression is nested too deeply"));
        }
        self.advance()?;
        let inner = self.unary()?;
        self.depth -= 1;
        if mark == "!" {
            return self.term(at, Kind::Not(Box::new(inner)));
        }
        match inner.kind {
            Kind::Int(number) => self.term(at, Kind::Int(-number)),
            Kind::Dec(number) => self.term(at, Kind::Dec(-number)),
            _ => self.term(at, Kind::Negate(Box::new(inner))),
        }
    }

    fn postfix(&mut self) -> Parsed {
        let at = self.at;
        let mut term = self.primary()?;
        loop {
            let optional = self.is("?.");
            let here = self.at;
            if optional || self.is(".") {
                self.advance()?;
                if optional && self.is("[") {
                    term = self.index(at, term, true)?;
                    continue;
                }
                let Token::Name(name) = self.token else {
                    return Err(Fault::new(
                        self.at,
                        format!("expected a name after `.`, found {}", self.token.shown()),
                    ));
                };
                self.advance()?;
                term = if self.is("(") {
                    self.method(here, term, name, optional)?
                } else {
                    self.field(at, term, name, optional)?
                };
            } else if self.is("[") {
                term = self.index(at, term, false)?;
            } else {
                break;
            }
        }
        if matches!(&term.kind, Kind::Root(name) if &**name == "steps") {
            return Err(Fault::new(at, "`steps` alone is no value").hint("name a step: `steps.x.output`"));
        }
        Ok(term)
    }

    fn field(&self, at: usize, of: Term, name: &str, optional: bool) -> Parsed {
        if matches!(&of.kind, Kind::Root(root) if &**root == "steps") {
            return self.term(at, Kind::Step(name.into()));
        }
        self.term(at, Kind::Field { of: Box::new(of), name: name.into(), optional })
    }

    fn index(&mut self, at: usize, of: Term, optional: bool) -> Parsed {
        self.advance()?;
        let index = self.expression()?;
        self.expect("]", "after an index")?;
        if matches!(&of.kind, Kind::Root(root) if &**root == "steps") {
            return match index.kind {
                Kind::Text(id) => self.term(at, Kind::Step(id)),
                _ => Err(Fault::new(at, "the step in `steps[…]` must be written as a text").hint("write `steps['x']`")),
            };
        }
        match index.kind {
            Kind::Text(name) if super::ast::is_name(&name) && !is_length_like(&name) => {
                self.term(at, Kind::Field { of: Box::new(of), name, optional })
            }
            kind => {
                let index = Term { kind, ..index };
                self.term(at, Kind::Index { of: Box::new(of), index: Box::new(index), optional })
            }
        }
    }

    fn method(&mut self, at: usize, receiver: Term, name: &str, optional: bool) -> Parsed {
        let Some(function) = functions::lookup(name, true) else {
            let fault = Fault::new(at + 1, format!("there is no function `.{name}()`"));
            if let Some(hint) = functions::instead(name) {
                return Err(fault.hint(hint));
            }
            return Err(match (functions::lookup(name, false), closest(name, functions::names(true))) {
                (Some(_), _) => fault.hint(format!("write `{name}(x)`")),
                (None, Some(near)) => fault.hint(format!("did you mean `.{near}()`?")),
                _ => fault.hint("docs/expressions.md lists all functions"),
            });
        };
        self.call(at, function, Some(receiver), optional)
    }

    fn call(
        &mut self,
        at: usize,
        function: &'static [&'static Function],
        receiver: Option<Term>,
        optional: bool,
    ) -> Parsed {
        let open = self.at;
        self.advance()?;
        let method = receiver.is_some();
        let name = function.first().map_or("", |function| function.name);
        let mut args: Vec<Term> = receiver.into_iter().collect();
        while !self.is(")") {
            let place = args.len();
            let arrow = function.iter().find_map(|function| function.arrow.filter(|(at, _)| usize::from(*at) == place));
            if let Some(params) = self.arrow_params()? {
                let Some((_, most)) = arrow else {
                    return Err(Fault::new(self.before, format!("`{name}` takes no function here")));
                };
                if params.len() > usize::from(most) {
                    let message = format!(
                        "`{name}` gives its function at most {most} arguments, this one takes {}",
                        params.len()
                    );
                    return Err(Fault::new(self.before, message));
                }
                let count = u8::try_from(params.len()).unwrap_or(u8::MAX);
                let start = self.at;
                let depth = self.locals.len();
                self.locals.extend(params);
                if self.is("{") {
                    return Err(Fault::new(start, "a function is one expression here").hint("write `x => x.id` without braces and `return`, and an object in parentheses: `x => ({id: x.id})`"));
                }
                let body = self.expression()?;
                self.locals.truncate(depth);
                args.push(self.term(start, Kind::Arrow { params: count, body: Box::new(body) })?);
            } else {
                args.push(self.expression()?);
            }
            if args.len() > 250 {
                return Err(Fault::new(self.at, "a call has more than 250 arguments"));
            }
            if !self.eat(",")? {
                break;
            }
        }
        if !self.is(")") {
            return Err(Fault::new(
                open,
                format!("the arguments of `{name}` are not closed, found {}", self.token.shown()),
            )
            .hint("end them with `)`"));
        }
        self.advance()?;
        let count = args.len();
        let fits = |function: &&&Function| {
            let (fewest, most) = function.arity;
            count >= usize::from(fewest) && (most == u8::MAX || count <= usize::from(most))
        };
        if !function.iter().any(|function| fits(&function)) {
            let usage = function.first().map(|function| function.usage()).unwrap_or_default();
            let given = count - usize::from(method);
            let message = format!("`{name}` does not take {given} argument{}", if given == 1 { "" } else { "s" });
            return Err(Fault::new(at, message).hint(format!("write `{usage}`")));
        }
        self.term(at, Kind::Call { function, method, optional, args })
    }

    /// The parameters of an arrow function if one begins here; the position is then behind the arrow.
    fn arrow_params(&mut self) -> Parsed<Option<Vec<&'s str>>> {
        let save = (self.lexer.at, self.token.clone(), self.at, self.before);
        let params = self.try_params();
        match params {
            Ok(Some(params)) => Ok(Some(params)),
            _ => {
                (self.lexer.at, self.token, self.at, self.before) = save;
                self.refuse_patterns()?;
                Ok(None)
            }
        }
    }

    fn try_params(&mut self) -> Parsed<Option<Vec<&'s str>>> {
        let mut params = Vec::new();
        if let Token::Name(name) = self.token {
            params.push(name);
            self.advance()?;
        } else if self.eat("(")? {
            while let Token::Name(name) = self.token {
                params.push(name);
                self.advance()?;
                if !self.eat(",")? {
                    break;
                }
            }
            if !self.eat(")")? {
                return Ok(None);
            }
        } else {
            return Ok(None);
        }
        Ok(self.eat("=>")?.then_some(params))
    }

    /// Refuses `([a, b]) => …` and `({a}) => …` with a sentence of their own.
    fn refuse_patterns(&self) -> Parsed<()> {
        let rest = self.lexer.text.get(self.at..).unwrap_or("");
        let inner = rest.strip_prefix('(').map_or("", str::trim_start);
        if !inner.starts_with(['[', '{']) {
            return Ok(());
        }
        let Some(close) = inner.find(')') else { return Ok(()) };
        let head = inner.get(..close).unwrap_or("");
        let tail = inner.get(close + 1..).map_or("", str::trim_start);
        let plain = head.chars().all(|next| next.is_alphanumeric() || "_$,[]{} ".contains(next));
        if plain && tail.starts_with("=>") {
            let fault = Fault::new(self.at, "a function's parameter is one name here");
            return Err(fault.hint("write `e => e[0]` or `x => x.name`"));
        }
        Ok(())
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at;
        match self.token.clone() {
            Token::Number(text) => {
                self.advance()?;
                let kind = match text.parse::<i128>() {
                    Ok(number) => Kind::Int(number),
                    Err(_) => match Number::parse(text) {
                        Some(Number::Dec(number)) => Kind::Dec(number),
                        Some(Number::Int(number)) => Kind::Int(number),
                        None => return Err(Fault::new(at, "the number has more than 28 digits")),
                    },
                };
                self.term(at, kind)
            }
            Token::Text(text) => {
                self.advance()?;
                self.term(at, Kind::Text(text.into()))
            }
            Token::Backtick => self.template_string(at),
            Token::Name(name) => self.name(at, name),
            Token::Mark("(") => {
                self.advance()?;
                let term = self.expression()?;
                self.expect(")", "after an expression in parentheses")?;
                Ok(term)
            }
            Token::Mark("[") => self.list(at),
            Token::Mark("{") => self.object(at),
            Token::Mark("/") => self.regex(at),
            Token::Mark("}") => {
                Err(Fault::new(at, "the expression is empty or ends early").hint("write an expression before `}}`"))
            }
            token => Err(Fault::new(at, format!("expected a value, found {}", token.shown()))),
        }
    }

    fn name(&mut self, at: usize, name: &'s str) -> Parsed {
        self.advance()?;
        match name {
            "true" => return self.term(at, Kind::Bool(true)),
            "false" => return self.term(at, Kind::Bool(false)),
            "null" => return self.term(at, Kind::Null),
            _ => {}
        }
        if let Some(slot) = self.locals.iter().rposition(|local| *local == name) {
            return self.term(at, Kind::Local(u16::try_from(slot).unwrap_or(u16::MAX), name.into()));
        }
        if self.is("(") {
            if let Some(function) = functions::lookup(name, false) {
                return self.call(at, function, None, false);
            }
        } else if self.is_root(name) {
            return self.term(at, Kind::Root(name.into()));
        } else if PREFIXES.contains(&name) && self.is(".") {
            return self.prefixed(at, name);
        }
        Err(self.unknown(at, name))
    }

    fn prefixed(&mut self, at: usize, prefix: &str) -> Parsed {
        self.advance()?;
        let Token::Name(name) = self.token else {
            return Err(Fault::new(
                self.at,
                format!("expected a name after `{prefix}.`, found {}", self.token.shown()),
            ));
        };
        self.advance()?;
        let full = format!("{prefix}.{name}");
        match functions::lookup(&full, false) {
            Some(function) if self.is("(") => self.call(at, function, None, false),
            Some(_) => Err(Fault::new(at, format!("`{full}` is a function")).hint(format!("call it: `{full}(…)`"))),
            None => {
                let fault = Fault::new(at, format!("there is no function `{full}`"));
                let near = closest(&full, functions::names(false));
                Err(match near {
                    Some(near) => fault.hint(format!("did you mean `{near}`?")),
                    None => fault.hint("docs/expressions.md lists all functions"),
                })
            }
        }
    }

    fn is_root(&self, name: &str) -> bool {
        ROOTS.contains(&name) || self.names.contains(&name)
    }

    fn unknown(&self, at: usize, name: &str) -> Fault {
        let called = self.is("(");
        let message =
            if called { format!("there is no function `{name}`") } else { format!("there is no name `{name}` here") };
        let fault = Fault::new(at, message);
        let foreign = FOREIGN.iter().find(|(word, _)| *word == name).map(|(_, hint)| *hint);
        if let Some(hint) = foreign.or_else(|| functions::instead(name)) {
            return fault.hint(hint);
        }
        if let Some(method) = functions::lookup(name, true).filter(|_| called).and_then(|found| found.first()) {
            return fault.hint(format!("write `{}`", method.usage()));
        }
        let known: Vec<&str> = if called {
            functions::names(false).collect()
        } else {
            ROOTS.iter().chain(self.locals.iter()).chain(self.names).copied().collect()
        };
        match closest(name, known.into_iter()) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None if called => fault.hint("docs/expressions.md lists all functions"),
            None if functions::lookup(name, false).is_some() => fault.hint(format!("call it: `{name}(…)`")),
            None => fault.hint(format!("names are {}; text stands in quotes", ROOTS.join(", "))),
        }
    }

    fn list(&mut self, at: usize) -> Parsed {
        self.advance()?;
        let mut items = Vec::new();
        while !self.is("]") {
            let spread = self.eat("...")?;
            items.push(Item { spread, value: self.expression()? });
            if !self.eat(",")? {
                break;
            }
        }
        self.expect("]", "at the end of a list")?;
        self.term(at, Kind::List(items))
    }

    fn object(&mut self, at: usize) -> Parsed {
        self.advance()?;
        let mut properties = Vec::new();
        while !self.is("}") {
            properties.push(self.property()?);
            if !self.eat(",")? {
                break;
            }
        }
        self.expect("}", "at the end of an object")?;
        self.term(at, Kind::Object(properties))
    }

    fn property(&mut self) -> Parsed<Property> {
        let at = self.at;
        if self.eat("...")? {
            return self.expression().map(Property::Spread);
        }
        if self.eat("[")? {
            let key = self.expression()?;
            self.expect("]", "after a computed key")?;
            self.expect(":", "after a key")?;
            return Ok(Property::Computed(key, self.expression()?));
        }
        let (key, short) = match self.token.clone() {
            Token::Name(name) => (name.to_owned(), Some(name)),
            Token::Text(text) => (text, None),
            Token::Number(text) => (text.to_owned(), None),
            other => return Err(Fault::new(at, format!("expected a key, found {}", other.shown()))),
        };
        self.advance()?;
        match short {
            Some(name) if self.is(",") || self.is("}") => {
                let value = match self.locals.iter().rposition(|local| *local == name) {
                    Some(slot) => Kind::Local(u16::try_from(slot).unwrap_or(u16::MAX), name.into()),
                    None if self.is_root(name) && name != "steps" => Kind::Root(name.into()),
                    None => return Err(self.unknown(at, name)),
                };
                Ok(Property::Pair(key.into(), self.term(at, value)?))
            }
            _ => {
                self.expect(":", "after a key")?;
                Ok(Property::Pair(key.into(), self.expression()?))
            }
        }
    }

    fn template_string(&mut self, at: usize) -> Parsed {
        let mut parts = Vec::new();
        loop {
            let start = self.lexer.at;
            let (text, more) = self.lexer.template_piece(at)?;
            if !text.is_empty() {
                parts.push(self.term(start, Kind::Text(text.into()))?);
            }
            if !more {
                break;
            }
            self.advance()?;
            parts.push(self.expression()?);
            if !self.is("}") {
                return Err(Fault::new(
                    self.at,
                    format!("expected `}}` in a template string, found {}", self.token.shown()),
                ));
            }
        }
        self.advance()?;
        self.term(at, Kind::Join(parts))
    }

    fn regex(&mut self, at: usize) -> Parsed {
        self.lexer.at = at + 1;
        let (source, flags) = self.lexer.regex()?;
        let mut builder = regex::RegexBuilder::new(source);
        builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).nest_limit(32);
        let mut global = false;
        for flag in flags.chars() {
            match flag {
                'g' => global = true,
                'i' => drop(builder.case_insensitive(true)),
                'm' => drop(builder.multi_line(true)),
                's' => drop(builder.dot_matches_new_line(true)),
                'u' => {}
                _ => {
                    return Err(Fault::new(at, format!("a regular expression has no flag `{flag}`"))
                        .hint("flags are g, i, m, s and u"));
                }
            }
        }
        let regex = builder.build().map_err(|error| {
            let message = match error {
                regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
                other => {
                    let text = other.to_string();
                    let last = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                    format!("the regular expression is not understood: {last}")
                }
            };
            Fault::new(at, message).hint("there is no look-around and no back-reference, so that matching stays fast")
        })?;
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            let message = format!("the expression has more than {REGEXES_MAX} regular expressions");
            return Err(Fault::new(at, message).hint("join them with `|`, or make it several steps"));
        }
        let (weight, far) = super::weight::of(source);
        self.advance()?;
        self.term(at, Kind::Regex(Box::new(Pattern { source: source.into(), global, regex, weight, far })))
    }
}

/// `['length']` of an object is a key, not a count, so it stays an index.
fn is_length_like(name: &str) -> bool {
    name == "length"
}

fn level(mark: &str) -> Option<u8> {
    Some(match mark {
        "??" => 1,
        "||" => 2,
        "&&" => 3,
        "==" | "===" | "!=" | "!==" => 4,
        "<" | "<=" | ">" | ">=" => 5,
        "+" | "-" => 6,
        "*" | "/" | "%" => 7,
        _ => return None,
    })
}
