//! Evaluation: a walk over the tree within a budget.
//!
//! Everything that can loop pays steps and everything that can grow pays bytes *before* it does so
//! (`budget`); recursion is bounded by the height of the tree and, for values
//! nested by `reduce` or JSON, by [`NESTING_MAX`]. Missing things are errors unless `?.` or `??` says otherwise.

use std::cmp::Ordering;

use super::ast::{Binary, Item, Kind, Property, Term};
use super::budget::{BYTES_MAX, COPY_MAX, HEAP_MAX, ITEM_BYTES, ITEM_HEAP, STEPS_MAX};
use super::data::{Data, Fields, List, Object, Text, date_text, offset_text};
use super::functions::{Args, Function, type_names};
use super::number::Number;
use super::{ExprError, Scope};
use crate::value::{DEPTH_MAX, Value};

/// Nesting allowed while computing; what leaves is held to [`DEPTH_MAX`].
const NESTING_MAX: usize = 200;

/// A failed evaluation. The offset is filled in by the construct that failed.
#[derive(Debug)]
pub(super) struct Fail(pub(super) Box<FailBody>);

#[derive(Debug)]
pub(super) struct FailBody {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) at: Option<u32>,
}

impl Fail {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(FailBody { message: message.into(), hint: None, at: None }))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    fn at(mut self, at: u32) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    pub(super) fn into_error(self) -> ExprError {
        let body = *self.0;
        ExprError {
            message: body.message,
            offset: body.at.and_then(|at| usize::try_from(at).ok()).unwrap_or(0),
            hint: body.hint,
        }
    }
}

pub(super) type Outcome<'a, T = Data<'a>> = Result<T, Fail>;

/// What a path led to.
enum Found<'a> {
    Data(Data<'a>),
    /// The last name of the path is not there.
    Missing,
    /// `?.` ended the path.
    Cut,
}

/// One evaluation: where names come from, lambda parameters, and what is left of the budget.
pub(super) struct Machine<'a> {
    pub(super) scope: &'a dyn Scope,
    locals: Vec<Data<'a>>,
    pub(super) steps_left: u64,
    pub(super) bytes_left: usize,
    pub(super) heap_left: usize,
    pub(super) copy_left: usize,
    /// What `now`, `uuid` and `random` gave.
    pub(super) draws: Vec<Value>,
    /// How often entropy was drawn.
    pub(super) drawn: u32,
}

impl<'a> Machine<'a> {
    pub(super) fn new(scope: &'a dyn Scope) -> Self {
        Self {
            scope,
            locals: Vec::new(),
            steps_left: STEPS_MAX,
            bytes_left: BYTES_MAX,
            heap_left: HEAP_MAX,
            copy_left: COPY_MAX,
            draws: Vec::new(),
            drawn: 0,
        }
    }

    /// Calls a function that was given as an argument.
    pub(super) fn call(&mut self, arrow: &'a Term, args: &[Data<'a>]) -> Outcome<'a> {
        let Kind::Arrow { params, body } = &arrow.kind else { return Err(Fail::new("a function is needed here")) };
        let depth = self.locals.len();
        let params = usize::from(*params);
        self.locals.extend(args.iter().take(params).cloned());
        self.locals.resize(depth + params, Data::Null);
        let outcome = self.eval(body);
        self.locals.truncate(depth);
        outcome
    }

    /// Calls a function whose answer must be true or false.
    pub(super) fn call_bool(&mut self, arrow: &'a Term, args: &[Data<'a>]) -> Outcome<'a, bool> {
        let at = arrow.at;
        match self.call(arrow, args)? {
            Data::Bool(yes) => Ok(yes),
            other => Err(not_boolean("the function's result", &other).at(at)),
        }
    }

    /// The value of a construct; what is missing is an error that names the path.
    pub(super) fn eval(&mut self, term: &'a Term) -> Outcome<'a> {
        match &term.kind {
            Kind::Root(_) | Kind::Step(_) | Kind::Field { .. } | Kind::Index { .. } | Kind::Call { .. } => {
                match self.find(term, false)? {
                    Found::Data(data) => Ok(data),
                    Found::Cut => Ok(Data::Null),
                    Found::Missing if is_optional(term) => Ok(Data::Null),
                    Found::Missing => Err(missing(term)),
                }
            }
            _ => {
                self.steps(1).map_err(|fail| fail.at(term.at))?;
                self.construct(term).map_err(|fail| fail.at(term.at))
            }
        }
    }

    fn construct(&mut self, term: &'a Term) -> Outcome<'a> {
        Ok(match &term.kind {
            Kind::Null => Data::Null,
            Kind::Bool(yes) => Data::Bool(*yes),
            Kind::Int(number) => Data::Int(*number),
            Kind::Dec(number) => Data::Dec(*number),
            Kind::Text(text) => Data::Text(Text::Borrowed(text)),
            Kind::Regex(pattern) => Data::Regex(pattern),
            Kind::Arrow { .. } => Data::Arrow(term),
            Kind::Local(slot, _) => self.locals.get(usize::from(*slot)).cloned().unwrap_or(Data::Null),
            Kind::Join(parts) => {
                let mut out = String::new();
                for part in parts {
                    let data = self.eval(part)?;
                    self.render(part, &data, &mut out)?;
                }
                Data::text(out)
            }
            Kind::List(items) => self.list(items)?,
            Kind::Object(properties) => self.object(properties)?,
            Kind::Not(inner) => match self.eval(inner)? {
                Data::Bool(yes) => Data::Bool(!yes),
                other => return Err(not_boolean("what stands after `!`", &other)),
            },
            Kind::Negate(inner) => {
                let data = self.eval(inner)?;
                let number = number_of(&data)
                    .ok_or_else(|| Fail::new(format!("`-` needs a number, {} is {}", inner.path(), a(data.kind()))))?;
                Data::number(number.negate().map_err(Fail::new)?)
            }
            Kind::Binary(operator, left, right) => {
                let left_data = self.eval(left)?;
                let right_data = self.eval(right)?;
                self.binary(*operator, (left, left_data), (right, right_data))?
            }
            Kind::And(left, right) => Data::Bool(self.condition(left, "&&")? && self.condition(right, "&&")?),
            Kind::Or(left, right) => Data::Bool(self.condition(left, "||")? || self.condition(right, "||")?),
            Kind::Coalesce(left, right) => match self.find(left, true)? {
                Found::Data(Data::Null) | Found::Missing | Found::Cut => self.eval(right)?,
                Found::Data(data) => data,
            },
            Kind::Choose(condition, yes, no) => {
                let chosen = self.condition(condition, "?")?;
                self.eval(if chosen { yes } else { no })?
            }
            _ => return self.eval(term),
        })
    }

    fn condition(&mut self, term: &'a Term, operator: &str) -> Outcome<'a, bool> {
        match self.eval(term)? {
            Data::Bool(yes) => Ok(yes),
            other => {
                let mut fail = not_boolean(&term.path(), &other);
                if operator == "||" {
                    fail = fail.hint("for a default write `??`; `||` and `&&` join conditions");
                }
                Err(fail.at(term.at))
            }
        }
    }

    fn list(&mut self, items: &'a [Item]) -> Outcome<'a> {
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            let data = self.eval(&item.value)?;
            match (item.spread, data) {
                (false, data) => {
                    self.grow_items(1)?;
                    out.push(data);
                }
                (true, Data::List(list)) => {
                    self.grow_items(list.len())?;
                    out.extend(list.iter());
                }
                (true, other) => {
                    return Err(Fail::new(format!("`...` in a list needs a list, this is {}", a(other.kind())))
                        .at(item.value.at));
                }
            }
        }
        self.heap(48)?;
        Ok(Data::list(out))
    }

    fn object(&mut self, properties: &'a [Property]) -> Outcome<'a> {
        let mut out = Fields::with_capacity(properties.len());
        for property in properties {
            match property {
                Property::Pair(key, value) => {
                    let data = self.eval(value)?;
                    self.grow(key.len())?;
                    self.grow_fields(1)?;
                    out.insert(Text::Borrowed(key), data);
                }
                Property::Computed(key, value) => {
                    let name = match self.eval(key)? {
                        Data::Text(name) => name,
                        number @ Data::Int(_) => number.number_text().unwrap_or_default().into_owned().into(),
                        other => {
                            return Err(Fail::new(format!(
                                "a key must be text, {} is {}",
                                key.path(),
                                a(other.kind())
                            ))
                            .at(key.at));
                        }
                    };
                    let data = self.eval(value)?;
                    self.grow(name.len())?;
                    self.grow_fields(1)?;
                    out.insert(name, data);
                }
                Property::Spread(value) => match self.eval(value)? {
                    Data::Object(object) => {
                        self.grow_fields(object.len())?;
                        out.extend(object.iter());
                    }
                    other => {
                        return Err(Fail::new(format!(
                            "`...` in an object needs an object, this is {}",
                            a(other.kind())
                        ))
                        .at(value.at));
                    }
                },
            }
        }
        self.heap(160)?;
        Ok(Data::object(out))
    }

    /// Follows a path; with `lenient` (left of `??`) nothing on it has to be there.
    fn find(&mut self, term: &'a Term, lenient: bool) -> Outcome<'a, Found<'a>> {
        self.steps(1).map_err(|fail| fail.at(term.at))?;
        match &term.kind {
            Kind::Root(name) => Ok(self.scope.root(name).map_or(Found::Missing, |value| Found::Data(Data::of(value)))),
            Kind::Step(id) => Ok(self.scope.step(id).map_or(Found::Missing, |value| Found::Data(Data::of(value)))),
            Kind::Field { of, name, optional } => {
                match self.receiver(of, *optional, lenient, || format!("field `{name}`"))? {
                    Some(data) => {
                        if let Data::Text(text) = &data {
                            self.scan(text.len()).map_err(|fail| fail.at(term.at))?;
                        }
                        field(&data, name).map_err(|kind| no_field(of, &data, name, kind).at(term.at))
                    }
                    None => Ok(Found::Cut),
                }
            }
            Kind::Index { of, index, optional } => {
                let Some(data) = self.receiver(of, *optional, lenient, || "items".to_owned())? else {
                    return Ok(Found::Cut);
                };
                let key = self.eval(index)?;
                self.index(of, &data, index, &key).map_err(|fail| fail.at(term.at))
            }
            Kind::Call { function, method, optional, args } => {
                self.invoke(term, function, *method, *optional, args, lenient)
            }
            _ => self.eval(term).map(Found::Data),
        }
    }

    /// What stands left of a dot; `None` if the path ends there because `?.` or `??` allows it.
    fn receiver(
        &mut self,
        of: &'a Term,
        optional: bool,
        lenient: bool,
        wanted: impl Fn() -> String,
    ) -> Outcome<'a, Option<Data<'a>>> {
        match self.find(of, lenient)? {
            Found::Cut => Ok(None),
            Found::Data(Data::Null) | Found::Missing if optional || lenient => Ok(None),
            Found::Missing => Err(missing(of)),
            Found::Data(Data::Null) => {
                let (path, wanted) = (of.path(), wanted());
                Err(Fail::new(format!("{path} is null and has no {wanted}"))
                    .hint(format!("write `{path}?.` if it may be null"))
                    .at(of.at))
            }
            Found::Data(data) => Ok(Some(data)),
        }
    }

    fn index(&mut self, of: &'a Term, data: &Data<'a>, index: &Term, key: &Data<'a>) -> Outcome<'a, Found<'a>> {
        Ok(match (data, key) {
            (Data::List(list), Data::Int(place)) => {
                if *place < 0 {
                    let message = format!("{}[{place}]: places in a list begin with 0", of.path());
                    return Err(Fail::new(message).hint("the last item is `.last()` or `.at(-1)`"));
                }
                usize::try_from(*place).ok().and_then(|place| list.get(place)).map_or(Found::Missing, Found::Data)
            }
            (Data::Text(text), Data::Int(place)) => {
                self.scan(text.len())?;
                let place = usize::try_from(*place).ok();
                let found = place.and_then(|place| text.chars().nth(place));
                found.map_or(Found::Missing, |found| Found::Data(Data::text(found.to_string())))
            }
            (Data::Object(object), Data::Text(name)) => object.get(name).map_or(Found::Missing, Found::Data),
            (Data::List(_), Data::Text(name)) if &**name == "length" => field(data, name).unwrap_or(Found::Missing),
            _ => {
                return Err(Fail::new(format!(
                    "{} is {} and cannot be indexed with {} ({})",
                    of.path(),
                    a(data.kind()),
                    a(key.kind()),
                    index.path()
                )));
            }
        })
    }

    fn invoke(
        &mut self,
        term: &'a Term,
        function: &'static [&'static Function],
        method: bool,
        optional: bool,
        args: &'a [Term],
        lenient: bool,
    ) -> Outcome<'a, Found<'a>> {
        let name = function.first().map_or("", |function| function.name);
        let mut values = Vec::with_capacity(args.len());
        for (place, arg) in args.iter().enumerate() {
            if place == 0 && method {
                let takes_null = function.iter().any(|function| function.on & super::functions::types::NULL != 0);
                let data = if takes_null && !optional && !lenient {
                    self.eval(arg)?
                } else {
                    match self.receiver(arg, optional, lenient, || format!("`{name}`"))? {
                        Some(data) => data,
                        None => return Ok(Found::Cut),
                    }
                };
                values.push(data);
            } else {
                values.push(self.eval(arg)?);
            }
        }
        let chosen = match (function, values.first()) {
            ([only], None) => Some(*only),
            (_, Some(first)) => {
                function.iter().find(|function| function.on == 0 || function.on & first.bit() != 0).copied()
            }
            _ => None,
        };
        let Some(chosen) = chosen else {
            let works_on = function.iter().fold(0, |types, function| types | function.on);
            let subject = args.first().map_or_else(|| "nothing".to_owned(), Term::path);
            let kind = values.first().map_or("null", Data::kind);
            let mut fail = Fail::new(format!("`{name}` works on {}, {subject} is {}", type_names(works_on), a(kind)));
            if kind == "null" {
                fail = fail.hint("give a default with `??`");
            }
            return Err(fail.at(term.at));
        };
        let args = Args { function: chosen, values: &values, method };
        let made = (chosen.run)(self, &args).and_then(|made| self.around(&made).map(|()| made));
        made.map(Found::Data).map_err(|fail| fail.at(term.at))
    }

    fn binary(&mut self, operator: Binary, left: (&Term, Data<'a>), right: (&Term, Data<'a>)) -> Outcome<'a> {
        let ((left_term, left), (right_term, right)) = (left, right);
        match operator {
            Binary::Equal => return self.equal(&left, &right, 0).map(Data::Bool),
            Binary::Unequal => return self.equal(&left, &right, 0).map(|same| Data::Bool(!same)),
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                if let Some(order) = self.order(&left, &right)? {
                    return Ok(Data::Bool(match operator {
                        Binary::Less => order.is_lt(),
                        Binary::LessEqual => order.is_le(),
                        Binary::Greater => order.is_gt(),
                        _ => order.is_ge(),
                    }));
                }
            }
            Binary::Add => {
                if let (Data::Text(left), Data::Text(right)) = (&left, &right) {
                    self.grow(left.len() + right.len())?;
                    return Ok(Data::text(format!("{}{}", &**left, &**right)));
                }
            }
            _ => {}
        }
        if let (Some(left_number), Some(right_number)) = (number_of(&left), number_of(&right)) {
            let result = match operator {
                Binary::Add => left_number.add(right_number),
                Binary::Subtract => left_number.subtract(right_number),
                Binary::Multiply => left_number.multiply(right_number),
                Binary::Divide => left_number.divide(right_number),
                _ => left_number.remainder(right_number),
            };
            return result.map(Data::number).map_err(|refused| {
                Fail::new(format!("{} {} {}: {refused}", left_term.path(), operator.symbol(), right_term.path()))
            });
        }
        for (term, data) in [(left_term, &left), (right_term, &right)] {
            if matches!(data, Data::Written(_)) && number_of(data).is_none() {
                return Err(Fail::new(format!("{} has more digits than can be calculated with", term.path())));
            }
        }
        let fail = Fail::new(format!(
            "`{}` cannot join {} ({}) and {} ({})",
            operator.symbol(),
            a(left.kind()),
            left_term.path(),
            a(right.kind()),
            right_term.path()
        ));
        Err(match (operator, &left, &right) {
            (_, Data::Null, _) | (_, _, Data::Null) => fail.hint("give a default with `??`"),
            (Binary::Add, Data::Date(_), _) => fail.hint("write `date.plus('3d')`"),
            (Binary::Subtract, Data::Date(_), Data::Date(_)) => fail.hint("write `a.diff(b, 'days')`"),
            (Binary::Subtract, Data::Date(_), _) => fail.hint("write `date.minus('3d')`"),
            (Binary::Add, Data::List(_), _) => fail.hint("write `a.concat(b)`"),
            (Binary::Add, Data::Text(_), _) | (Binary::Add, _, Data::Text(_)) => {
                fail.hint("write `Number(x)` to add numbers, or a template string to join text")
            }
            (_, Data::Date(_), _) | (_, _, Data::Date(_)) => fail.hint("make a date of the other side with `date(x)`"),
            (_, Data::Text(_), _) | (_, _, Data::Text(_)) => fail.hint("make a number of the text with `Number(x)`"),
            _ => fail,
        })
    }

    /// Order of two numbers, texts or dates, paid for by their length; `None` for anything else.
    pub(super) fn order(&mut self, left: &Data<'a>, right: &Data<'a>) -> Outcome<'a, Option<Ordering>> {
        for data in [left, right] {
            if let Data::Text(text) | Data::Written(text) = data {
                self.scan(text.len())?;
            }
        }
        Ok(left.order(right))
    }

    /// Whether two values are equal in type and content, numbers by amount.
    pub(super) fn equal(&mut self, left: &Data<'a>, right: &Data<'a>, depth: usize) -> Outcome<'a, bool> {
        self.steps(1)?;
        if depth > NESTING_MAX {
            return Err(Fail::new("the values are nested too deeply to compare"));
        }
        Ok(match (left, right) {
            (Data::Null, Data::Null) => true,
            (Data::Bool(left), Data::Bool(right)) => left == right,
            (Data::Text(left), Data::Text(right)) => {
                self.scan(if left.len() == right.len() { left.len() } else { 0 })?;
                left == right
            }
            (Data::List(left), Data::List(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !self.equal(&left, &right, depth + 1)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Data::Object(left), Data::Object(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, left) in left.iter() {
                    match right.get(&key) {
                        Some(right) if self.equal(&left, &right, depth + 1)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Data::Date(_), Data::Text(_)) | (Data::Text(_), Data::Date(_)) => {
                return Err(
                    Fail::new("a date cannot be compared with text").hint("make a date of the text with `date(x)`")
                );
            }
            (Data::Regex(left), Data::Regex(right)) => left.source == right.source,
            _ => self.order(left, right)?.is_some_and(Ordering::is_eq),
        })
    }

    /// Writes a value into text as interpolation does.
    pub(super) fn render(&mut self, term: &Term, data: &Data<'a>, out: &mut String) -> Outcome<'a, ()> {
        let hint = match data {
            Data::Text(text) => {
                self.grow(text.len())?;
                out.push_str(text);
                return Ok(());
            }
            Data::Int(_) | Data::Dec(_) | Data::Written(_) => {
                let text = data.number_text().unwrap_or_default();
                self.grow(text.len())?;
                out.push_str(&text);
                return Ok(());
            }
            Data::Bool(yes) => {
                self.grow(5)?;
                out.push_str(if *yes { "true" } else { "false" });
                return Ok(());
            }
            Data::Date(date) => {
                self.grow(40)?;
                out.push_str(&offset_text(date));
                return Ok(());
            }
            Data::Null => "write `?? ''` for nothing",
            Data::List(_) | Data::Object(_) => "write `json(x)`, or `.join(', ')` for a list",
            Data::Regex(_) | Data::Arrow(_) => "call a function with it",
        };
        Err(Fail::new(format!("{} is {} and cannot stand in text", term.path(), a(data.kind()))).hint(hint).at(term.at))
    }

    /// The result as a value of its own. A value handed through as it is counts against [`COPY_MAX`] only.
    pub(super) fn export(&mut self, term: &Term, data: Data<'a>) -> Outcome<'a, Value> {
        let at = term.at;
        let through = match &data {
            Data::Text(Text::Borrowed(text)) => Some(text.len()),
            Data::List(List::Borrowed(items)) => Some(items.iter().map(Value::weight).sum()),
            Data::Object(Object::Borrowed(map)) => {
                Some(map.iter().map(|(key, value)| key.len() + value.weight()).sum())
            }
            _ => None,
        };
        if let Some(weight) = through {
            match self.copy_left.checked_sub(weight) {
                Some(left) => self.copy_left = left,
                None => return Err(Fail::new("more than 16 MiB of input is handed on").at(at)),
            }
        }
        self.out(data, through.is_some(), 0).map_err(|fail| fail.at(at))
    }

    fn out(&mut self, data: Data<'a>, free: bool, depth: usize) -> Outcome<'a, Value> {
        if depth > DEPTH_MAX {
            return Err(Fail::new(format!("the result is nested deeper than {DEPTH_MAX} levels")));
        }
        if !free && depth > 0 {
            self.grow(ITEM_BYTES)?;
            self.heap(ITEM_HEAP)?;
        }
        Ok(match data {
            Data::Null => Value::Null,
            Data::Bool(yes) => Value::Bool(yes),
            Data::Int(number) => Value::Int(number),
            Data::Dec(number) => Value::Dec(number.to_string()),
            Data::Written(text) => Value::Dec(text.to_string()),
            Data::Date(date) => Value::Str(date_text(&date)),
            Data::Text(text) => {
                if let (Text::Borrowed(text), false) = (&text, free) {
                    self.grow(text.len())?;
                }
                Value::Str(text.to_string())
            }
            Data::List(list) => {
                let mut out = Vec::with_capacity(list.len());
                for item in list.iter() {
                    out.push(self.out(item, free, depth + 1)?);
                }
                Value::List(out)
            }
            Data::Object(object) => {
                let mut out = crate::value::Map::with_capacity(object.len());
                for (key, value) in object.iter() {
                    if !free {
                        self.grow(key.len())?;
                        self.heap(ITEM_HEAP)?;
                    }
                    out.insert(key.to_string(), self.out(value, free, depth + 1)?);
                }
                Value::Map(out)
            }
            Data::Regex(_) => return Err(Fail::new("a regular expression is no result").hint("call `.test(x)` on it")),
            Data::Arrow(_) => return Err(Fail::new("a function is no result")),
        })
    }

    /// Refuses a value nested so deeply that walking it is unsafe; pays for looking.
    pub(super) fn check_nesting(&mut self, data: &Data<'a>, depth: usize) -> Outcome<'a, ()> {
        self.steps(1)?;
        if depth > DEPTH_MAX {
            return Err(Fail::new(format!("the value is nested deeper than {DEPTH_MAX} levels")));
        }
        match data {
            Data::List(List::Made(items)) => items.iter().try_for_each(|item| self.check_nesting(item, depth + 1)),
            Data::Object(Object::Made(fields)) => {
                fields.values().try_for_each(|item| self.check_nesting(item, depth + 1))
            }
            _ => Ok(()),
        }
    }
}

fn field<'a>(data: &Data<'a>, name: &str) -> Result<Found<'a>, &'static str> {
    let count = |count: usize| Ok(Found::Data(Data::Int(i128::try_from(count).unwrap_or(i128::MAX))));
    match data {
        Data::Object(object) => Ok(object.get(name).map_or(Found::Missing, Found::Data)),
        Data::List(list) if name == "length" => count(list.len()),
        Data::Text(text) if name == "length" => count(text.chars().count()),
        Data::Date(date) => super::functions::date_field(date, name).map(Found::Data).ok_or("date"),
        other => Err(other.kind()),
    }
}

fn no_field(of: &Term, data: &Data<'_>, name: &str, kind: &'static str) -> Fail {
    let fail = Fail::new(format!("{} is {} and has no field `{name}`", of.path(), a(kind)));
    match data {
        Data::List(_) => {
            fail.hint(format!("take one item, `{0}[0].{name}`, or all, `{0}.map(x => x.{name})`", of.path()))
        }
        Data::Text(_) => fail.hint("read JSON text with `JSON.parse(x)`"),
        Data::Date(_) => fail
            .hint("a date has year, month, day, hour, minute, second, millisecond, weekday, quarter, weekNumber, zone"),
        _ => fail,
    }
}

fn is_optional(term: &Term) -> bool {
    matches!(
        &term.kind,
        Kind::Field { optional: true, .. } | Kind::Index { optional: true, .. } | Kind::Call { optional: true, .. }
    )
}

fn missing(term: &Term) -> Fail {
    let path = term.path();
    let fail = Fail::new(match &term.kind {
        Kind::Step(_) => format!("{path} has not run or is not settled here"),
        Kind::Root(_) => format!("{path} is not there in this place"),
        _ => format!("{path} is not there"),
    });
    match &term.kind {
        Kind::Step(_) => fail.hint(format!("write `{path}?.output` if it may be missing")),
        Kind::Field { of, name, .. } => {
            fail.hint(format!("write `{}?.{name}` or `{path} ?? default` if it may be missing", of.path()))
        }
        _ => fail.hint(format!("write `{path} ?? default` if it may be missing")),
    }
    .at(term.at)
}

fn not_boolean(what: &str, data: &Data<'_>) -> Fail {
    let fail = Fail::new(format!("{what} must be true or false, it is {}", a(data.kind())));
    match data {
        Data::Null => fail.hint("write `?? false`"),
        Data::Text(_) | Data::List(_) | Data::Object(_) => fail.hint("ask with `isNotEmpty(x)` or `x == …`"),
        Data::Int(_) | Data::Dec(_) | Data::Written(_) => fail.hint("ask with `x != 0`"),
        _ => fail,
    }
}

/// The number in a value; `None` for other types and for decimals of more than 28 digits.
pub(super) fn number_of(data: &Data<'_>) -> Option<Number> {
    match data {
        Data::Int(number) => Some(Number::Int(*number)),
        Data::Dec(number) => Some(Number::Dec(*number)),
        Data::Written(text) => Number::parse(text),
        _ => None,
    }
}

/// A type with its article.
pub(super) fn a(kind: &'static str) -> String {
    match kind {
        "null" | "text" => kind.to_owned(),
        "integer" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}
