//! A condition's words and signs.

use std::borrow::Cow;

use super::super::{Fault, FilterError};
use super::value::Number;

/// Keywords, in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    And,
    Between,
    Contains,
    EndsWith,
    False,
    In,
    Is,
    Not,
    Null,
    Or,
    StartsWith,
    True,
}

const WORDS: [(&str, Word); 12] = [
    ("AND", Word::And),
    ("BETWEEN", Word::Between),
    ("CONTAINS", Word::Contains),
    ("ENDSWITH", Word::EndsWith),
    ("FALSE", Word::False),
    ("IN", Word::In),
    ("IS", Word::Is),
    ("NOT", Word::Not),
    ("NULL", Word::Null),
    ("OR", Word::Or),
    ("STARTSWITH", Word::StartsWith),
    ("TRUE", Word::True),
];

/// One word or sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    Word(Word),
    Name(&'t str),
    /// Without its quotes, and doubled quotes made one.
    Text(Cow<'t, str>),
    Number(Number),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 11] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-"];

/// Reads tokens off a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Where the last line ends: `--` begins a comment only before that, and is two signs after.
    last_line_end: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let last_line_end = text.rfind(['\n', '\r']).unwrap_or(0);
        Self { text, at: 0, last_line_end }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next token, and the byte where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'t>), FilterError> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((start, Token::End)) };
        let token = match first {
            '\'' => self.text()?,
            '0'..='9' | '.' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' | '$' => self.word(),
            _ => self.sign(first)?,
        };
        Ok((start, token))
    }

    fn error(&self, fault: Fault) -> FilterError {
        FilterError::new(self.text, self.at, fault)
    }

    /// Takes the bytes for which `is` holds.
    fn take(&mut self, is: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| !is(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_blanks(&mut self) -> Result<(), FilterError> {
        loop {
            self.take(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c'));
            let rest = self.rest();
            if rest.starts_with("--") && self.at < self.last_line_end {
                self.take(|byte| !matches!(byte, b'\n' | b'\r'));
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.error(Fault::EndlessComment));
                };
                self.at += length + "/**/".len();
            } else {
                return Ok(());
            }
        }
    }

    fn text(&mut self) -> Result<Token<'t>, FilterError> {
        let inside = &self.rest()[1..];
        let mut length = 0;
        loop {
            let Some(quote) = inside[length..].find('\'') else {
                return Err(self.error(Fault::EndlessString));
            };
            length += quote;
            if !inside[length + 1..].starts_with('\'') {
                break;
            }
            length += 2;
        }
        self.at += length + 2;
        let text = &inside[..length];
        let doubled = text.contains('\'');
        Ok(Token::Text(if doubled { text.replace("''", "'").into() } else { text.into() }))
    }

    /// Digits, then maybe a point, digits, an exponent, or else an `L`, which changes nothing.
    fn number(&mut self) -> Result<Token<'t>, FilterError> {
        let start = self.at;
        let digit = |byte: u8| byte.is_ascii_digit();
        let whole = self.take(digit);
        let point = self.rest().starts_with('.');
        if point {
            self.at += 1;
            if self.take(digit).is_empty() && whole.is_empty() {
                self.at = start;
                return Err(self.error(Fault::UnknownCharacter('.')));
            }
        }
        let float = self.exponent() || point;
        let image = &self.text[start..self.at];
        if !float {
            self.at += usize::from(self.rest().starts_with(['l', 'L']));
            if image.len() > 1 && image.starts_with('0') {
                return Err(FilterError::new(self.text, start, Fault::LeadingZero));
            }
        }
        let number = if float { Number::float(image) } else { Number::integer(image) };
        let error = || FilterError::new(self.text, start, Fault::NumberRange);
        number.map(Token::Number).ok_or_else(error)
    }

    /// Takes an exponent, if there is a whole one.
    fn exponent(&mut self) -> bool {
        let Some(rest) = self.rest().strip_prefix(['e', 'E']) else { return false };
        let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        self.at = self.text.len() - digits.len();
        self.take(|byte| byte.is_ascii_digit());
        true
    }

    fn word(&mut self) -> Token<'t> {
        let name = self.take(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
        let word = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        word.map_or(Token::Name(name), |(_, word)| Token::Word(*word))
    }

    fn sign(&mut self, first: char) -> Result<Token<'t>, FilterError> {
        let Some(sign) = SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) else {
            return Err(self.error(Fault::UnknownCharacter(first)));
        };
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }
}
