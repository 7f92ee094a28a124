//! From tokens to a tree, by precedence.

use super::super::{EXPRESSION_BYTES_MAX, Fault, FilterError};
use super::expression::{Operand, Order, Place, Test};
use super::lexer::{Lexer, Token, Word};
use super::{DEPTH_MAX, Names, SqlFilter, TESTS_MAX};

/// How tight an operator binds; the tighter, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Equal,
    Compare,
}

impl Level {
    /// That of the operator which begins with `token`, if one does.
    fn of(token: &Token<'_>) -> Option<Self> {
        Some(match token {
            Token::Word(Word::Or) => Self::Or,
            Token::Word(Word::And) => Self::And,
            Token::Word(Word::Is) | Token::Sign("=" | "<>") => Self::Equal,
            Token::Sign("<" | "<=" | ">" | ">=")
            | Token::Word(
                Word::Between
                | Word::Contains
                | Word::EndsWith
                | Word::In
                | Word::Not
                | Word::StartsWith,
            ) => Self::Compare,
            _ => return None,
        })
    }
}

/// A part of the tree.
struct Part {
    operand: Operand,
    /// The byte where it begins.
    at: usize,
    /// How many operators lie in each other in it.
    height: usize,
}

impl Part {
    const fn literal(&self) -> bool {
        matches!(
            self.operand,
            Operand::Text(_) | Operand::Number(_) | Operand::Test(Test::Constant(_))
        )
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// The byte where `token` begins.
    at: usize,
    names: Names,
    /// Operators so far.
    tests: usize,
    /// Parentheses and prefixes around the token.
    depth: usize,
}

/// Reads a whole condition.
pub(super) fn parse(text: &str) -> Result<SqlFilter, FilterError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(FilterError::new(text, 0, Fault::TooLong));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let names = Names::default();
    let mut parser = Parser { text, lexer, token, at, names, tests: 0, depth: 0 };
    let whole = parser.expression(Level::Or)?;
    // Without a line's end behind it, a comment is no comment to the lexer.
    if parser.token != Token::End && !text[parser.at..].starts_with("--") {
        return Err(parser.unexpected("an operator or the end"));
    }
    let test = parser.condition(whole)?;
    Ok(SqlFilter { names: parser.names, test })
}

impl<'t> Parser<'t> {
    fn error<T>(&self, at: usize, fault: Fault) -> Result<T, FilterError> {
        Err(FilterError::new(self.text, at, fault))
    }

    fn unexpected(&self, expected: &'static str) -> FilterError {
        unexpected(self.text, self.at, &self.token, expected)
    }

    /// Goes to the next token and gives the one it leaves.
    fn advance(&mut self) -> Result<Token<'t>, FilterError> {
        let (at, token) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn expect(&mut self, token: &Token<'_>, name: &'static str) -> Result<(), FilterError> {
        if self.token != *token {
            return Err(self.unexpected(name));
        }
        self.advance().map(drop)
    }

    /// Operands and operators that bind at least as tight as `loosest`.
    fn expression(&mut self, loosest: Level) -> Result<Part, FilterError> {
        let mut left = self.unary()?;
        let mut tightest = Level::Compare;
        while let Some(level) = Level::of(&self.token) {
            if level < loosest || level > tightest {
                break;
            }
            tightest = level;
            left = self.operator(left)?;
        }
        Ok(left)
    }

    /// The operator that the token begins, and what stands behind it.
    fn operator(&mut self, left: Part) -> Result<Part, FilterError> {
        self.tests += 1;
        if self.tests > TESTS_MAX {
            return self.error(self.at, Fault::TooManyTests);
        }
        match self.token {
            Token::Word(Word::Or) => self.join(left, false),
            Token::Word(Word::And) => self.join(left, true),
            Token::Word(Word::Is) => self.is_null(left),
            Token::Sign("=") => self.equal(left, false),
            Token::Sign("<>") => self.equal(left, true),
            Token::Sign(">") => self.compare(left, Order::Greater),
            Token::Sign(">=") => self.compare(left, Order::GreaterOrEqual),
            Token::Sign("<") => self.compare(left, Order::Less),
            Token::Sign("<=") => self.compare(left, Order::LessOrEqual),
            Token::Word(Word::Not) => {
                self.advance()?;
                self.predicate(left, true)
            }
            _ => self.predicate(left, false),
        }
    }

    /// An operator that may have a `NOT` before it.
    fn predicate(&mut self, left: Part, negated: bool) -> Result<Part, FilterError> {
        match self.token {
            Token::Word(Word::Between) => self.between(left, negated),
            Token::Word(Word::In) => self.is_in(left, negated),
            Token::Word(Word::Contains) => self.search(left, Place::Anywhere, negated),
            Token::Word(Word::StartsWith) => self.search(left, Place::Start, negated),
            Token::Word(Word::EndsWith) => self.search(left, Place::End, negated),
            _ => Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH")),
        }
    }

    /// A part that has `operand` with operators `below` it.
    fn part(&self, at: usize, operand: Operand, below: usize) -> Result<Part, FilterError> {
        if below >= DEPTH_MAX {
            return self.error(at, Fault::TooDeep);
        }
        Ok(Part { operand, at, height: below + 1 })
    }

    /// A part as a condition: one itself, or a property.
    fn condition(&self, part: Part) -> Result<Test, FilterError> {
        match part.operand {
            Operand::Test(test) => Ok(test),
            Operand::Property(place) => Ok(Test::Property(place)),
            _ => self.error(part.at, Fault::NoCondition),
        }
    }

    /// `AND` if `all`, else `OR`. A chain becomes one list.
    fn join(&mut self, left: Part, all: bool) -> Result<Part, FilterError> {
        self.advance()?;
        let (at, height) = (left.at, left.height);
        let left = self.condition(left)?;
        let right = self.expression(if all { Level::Equal } else { Level::And })?;
        let (mut tests, below) = match (left, all) {
            (Test::All(tests), true) | (Test::Any(tests), false) => (tests, height - 1),
            (test, _) => (vec![test], height),
        };
        let below = below.max(right.height);
        tests.push(self.condition(right)?);
        let test = if all { Test::All(tests) } else { Test::Any(tests) };
        self.part(at, Operand::Test(test), below)
    }

    fn equal(&mut self, left: Part, negated: bool) -> Result<Part, FilterError> {
        self.advance()?;
        let right = self.expression(Level::Compare)?;
        for side in [&left, &right] {
            if matches!(side.operand, Operand::Test(Test::Constant(None))) {
                return self.error(side.at, Fault::EqualsNull);
            }
        }
        let boolean = |part: &Part| matches!(part.operand, Operand::Test(_));
        if left.literal() && boolean(&left) && right.literal() && !boolean(&right) {
            return self.error(left.at, Fault::NeverEqual);
        }
        let below = left.height.max(right.height);
        let test = Test::Equal(Box::new([left.operand, right.operand]));
        self.negatable(left.at, test, negated, below)
    }

    /// A part that is `test`, or `NOT` it.
    fn negatable(
        &self,
        at: usize,
        test: Test,
        negated: bool,
        below: usize,
    ) -> Result<Part, FilterError> {
        let test = if negated { Test::Not(Box::new(test)) } else { test };
        self.part(at, Operand::Test(test), below + usize::from(negated))
    }

    fn is_null(&mut self, left: Part) -> Result<Part, FilterError> {
        self.advance()?;
        let negated = self.token == Token::Word(Word::Not);
        if negated {
            self.advance()?;
        }
        self.expect(&Token::Word(Word::Null), "NULL")?;
        let test = Test::IsNull(Box::new(left.operand));
        self.negatable(left.at, test, negated, left.height)
    }

    /// Refuses what has no order: other literals than numbers, and conditions.
    fn ordered(&self, part: &Part) -> Result<(), FilterError> {
        match part.operand {
            Operand::Text(_) | Operand::Test(_) => self.error(part.at, Fault::NoOrder),
            Operand::Property(_) | Operand::Number(_) | Operand::Negated(_) => Ok(()),
        }
    }

    fn compare(&mut self, left: Part, order: Order) -> Result<Part, FilterError> {
        self.advance()?;
        self.ordered(&left)?;
        let right = self.unary()?;
        self.ordered(&right)?;
        let below = left.height.max(right.height);
        let test = Test::Compare(order, Box::new([left.operand, right.operand]));
        self.part(left.at, Operand::Test(test), below)
    }

    fn between(&mut self, value: Part, negated: bool) -> Result<Part, FilterError> {
        self.advance()?;
        let low = self.unary()?;
        self.expect(&Token::Word(Word::And), "AND")?;
        let high = self.unary()?;
        for part in [&value, &low, &high] {
            self.ordered(part)?;
        }
        if let (Operand::Number(least), Operand::Number(most)) = (&low.operand, &high.operand)
            && !negated
            && least.compare(*most).is_gt()
        {
            return self.error(low.at, Fault::EmptyRange);
        }
        let below = value.height.max(low.height).max(high.height);
        let parts = Box::new([value.operand, low.operand, high.operand]);
        self.part(value.at, Operand::Test(Test::Between { parts, negated }), below)
    }

    fn is_in(&mut self, left: Part, negated: bool) -> Result<Part, FilterError> {
        self.advance()?;
        let Operand::Property(property) = left.operand else {
            return self.error(left.at, Fault::NoProperty);
        };
        self.expect(&Token::Sign("("), "\"(\"")?;
        let mut values = vec![self.string()?];
        while self.token == Token::Sign(",") {
            self.advance()?;
            values.push(self.string()?);
        }
        self.expect(&Token::Sign(")"), "\",\" or \")\"")?;
        values.sort_unstable();
        let values = values.into();
        self.part(left.at, Operand::Test(Test::In { property, values, negated }), left.height)
    }

    fn search(&mut self, left: Part, place: Place, negated: bool) -> Result<Part, FilterError> {
        self.advance()?;
        let text = self.string()?;
        let operand = Box::new(left.operand);
        let test = Test::Search { place, operand, text, negated };
        self.part(left.at, Operand::Test(test), left.height)
    }

    fn string(&mut self) -> Result<Box<str>, FilterError> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.unexpected("a string"));
        }
        match self.advance()? {
            Token::Text(text) => Ok(text.into()),
            other => unreachable!("{other:?} was a string"),
        }
    }

    /// An operand with its prefixes. The only way down: parentheses are an operand.
    fn unary(&mut self) -> Result<Part, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error(self.at, Fault::TooDeep);
        }
        let at = self.at;
        let part = match self.advance()? {
            Token::Sign("+") => self.unary(),
            Token::Sign("-") => {
                let part = self.unary()?;
                self.part(at, Operand::Negated(Box::new(part.operand)), part.height)
            }
            Token::Word(Word::Not) => {
                let part = self.unary()?;
                let height = part.height;
                let test = Test::Not(Box::new(self.condition(part)?));
                self.part(at, Operand::Test(test), height)
            }
            Token::Sign("(") => {
                let part = self.expression(Level::Or)?;
                self.expect(&Token::Sign(")"), "an operator or \")\"")?;
                Ok(Part { at, ..part })
            }
            token => self.leaf(at, token),
        }?;
        self.depth -= 1;
        Ok(part)
    }

    fn leaf(&mut self, at: usize, token: Token<'_>) -> Result<Part, FilterError> {
        let operand = match token {
            Token::Text(text) => Operand::Text(text.into()),
            Token::Number(number) => Operand::Number(number),
            Token::Word(Word::True) => Operand::Test(Test::Constant(Some(true))),
            Token::Word(Word::False) => Operand::Test(Test::Constant(Some(false))),
            Token::Word(Word::Null) => Operand::Test(Test::Constant(None)),
            Token::Name(name) => match self.names.place(name) {
                Some(place) => Operand::Property(place),
                None => return self.error(at, Fault::TooManyNames),
            },
            token => {
                return Err(unexpected(self.text, at, &token, "a property, a value or \"(\""));
            }
        };
        Ok(Part { operand, at, height: 0 })
    }
}

fn unexpected(text: &str, at: usize, token: &Token<'_>, expected: &'static str) -> FilterError {
    let word = text[at..].split_ascii_whitespace().next().unwrap_or_default();
    let found = match token {
        Token::End => "the end".to_owned(),
        _ => format!("{:?}", word.chars().take(20).collect::<String>()),
    };
    FilterError::new(text, at, Fault::Unexpected { expected, found })
}
