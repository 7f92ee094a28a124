//! What a config is: its name, type, default, bounds and documentation, and how a value is checked.

use super::ClusterError;

/// A config's type, by Kafka's names (`ConfigDef.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false` in any case.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A floating-point number.
    Double,
    /// Text parts separated by commas.
    List,
    /// The name of a class.
    Class,
    /// Text that is never shown.
    Password,
}

/// Which values a config takes, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// All.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number within these, both included.
    Between(i64, i64),
    /// A number within the first two, or equal to the last.
    BetweenOr(i64, i64, i64),
    /// A floating-point number from 0 to 1.
    Fraction,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words, perhaps empty.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    Replicas,
}

/// A broker config that gives a topic config its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker config's name.
    pub name: &'static str,
    /// Its unit in the topic config's unit.
    pub factor: i64,
}

/// One config, as declared in a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its value when nobody sets it; some broker configs have none.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub check: Check,
    /// What it does, in a line.
    pub doc: &'static str,
    /// Whether it has an effect in Mainstem. Without, it is accepted, stored and described.
    pub effective: bool,
    /// What is different from Kafka, in a line, or empty.
    pub note: &'static str,
    /// Broker configs that give it its default, the first one set wins.
    pub synonyms: &'static [Synonym],
    /// Not listed unless it is set.
    pub internal: bool,
    /// Can be changed while the broker runs. All topic configs can.
    pub dynamic: bool,
}

impl ConfigDef {
    /// A config with an effect; the table's rows go on from here.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        check: Check,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            check,
            doc,
            effective: true,
            note: "",
            synonyms: &[],
            internal: false,
            dynamic: true,
        }
    }

    /// Has no effect, and why.
    pub(super) const fn idle(mut self, why: &'static str) -> Self {
        self.effective = false;
        self.note = why;
        self
    }

    /// Has an effect that differs from Kafka's.
    pub(super) const fn note(mut self, what: &'static str) -> Self {
        self.note = what;
        self
    }

    /// Takes its default from these broker configs.
    pub(super) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// Is not listed unless set.
    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Has no default.
    pub(super) const fn unset(mut self) -> Self {
        self.default = None;
        self
    }

    /// Cannot be changed while the broker runs.
    pub(super) const fn fixed(mut self) -> Self {
        self.dynamic = false;
        self
    }

    /// Its documentation, with the note.
    #[must_use]
    pub fn documentation(&self) -> String {
        match (self.effective, self.note) {
            (true, "") => self.doc.to_owned(),
            (true, note) => format!("{} In Mainstem: {note}", self.doc),
            (false, note) => format!("{} No effect in Mainstem: {note}", self.doc),
        }
    }

    /// Checks a value as Kafka's `ConfigDef` does: type first, then bounds. Blanks around it are
    /// ignored.
    pub fn validate(&self, value: &str) -> Result<(), ClusterError> {
        let refuse = |why: String| {
            let reason = format!("Invalid value {value} for configuration {}: {why}", self.name);
            Err(ClusterError::invalid_config(self.name, reason))
        };
        let value = value.trim();
        match self.kind {
            Kind::Boolean => match parse_bool(value) {
                Some(_) => Ok(()),
                None => refuse("Expected value to be either true or false".into()),
            },
            Kind::Int => match value.parse::<i32>() {
                Ok(number) => self.check_number(i64::from(number)).or_else(refuse),
                Err(_) => refuse("Not a number of type INT".into()),
            },
            Kind::Short => match value.parse::<i16>() {
                Ok(number) => self.check_number(i64::from(number)).or_else(refuse),
                Err(_) => refuse("Not a number of type SHORT".into()),
            },
            Kind::Long => match value.parse::<i64>() {
                Ok(number) => self.check_number(number).or_else(refuse),
                Err(_) => refuse("Not a number of type LONG".into()),
            },
            Kind::Double => match value.parse::<f64>() {
                Ok(n) if self.check != Check::Fraction || (0.0..=1.0).contains(&n) => Ok(()),
                Ok(_) => refuse("Value must be between 0 and 1".into()),
                Err(_) => refuse("Not a number of type DOUBLE".into()),
            },
            Kind::List => self.check_list(value).or_else(refuse),
            Kind::String | Kind::Class | Kind::Password => self.check_word(value).or_else(refuse),
        }
    }

    fn check_number(&self, number: i64) -> Result<(), String> {
        match self.check {
            Check::AtLeast(low) if number < low => Err(format!("Value must be at least {low}")),
            Check::Between(low, _) if number < low => Err(format!("Value must be at least {low}")),
            Check::Between(_, high) if number > high => {
                Err(format!("Value must be no more than {high}"))
            }
            Check::BetweenOr(low, high, or) if number != or && !(low..=high).contains(&number) => {
                Err(format!("Value must be between {low} and {high} or equal to {or}"))
            }
            _ => Ok(()),
        }
    }

    fn check_word(&self, word: &str) -> Result<(), String> {
        match self.check {
            Check::OneOf(words) | Check::EachOf(words) if !words.contains(&word) => {
                Err(format!("String must be one of: {}", words.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn check_list(&self, value: &str) -> Result<(), String> {
        if self.check == Check::Replicas && value == "*" {
            return Ok(());
        }
        parse_list(value).try_for_each(|part| match self.check {
            _ if part.is_empty() => Err("values must not be empty".into()),
            Check::Replicas if !is_replica(part) => {
                Err("must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                    .into())
            }
            _ => self.check_word(part),
        })
    }
}

/// A broker config in the same unit as the topic config.
pub(super) const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

/// A broker config in minutes, for a topic config in milliseconds.
pub(super) const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, factor: 60 * 1000 }
}

/// A broker config in hours, for a topic config in milliseconds.
pub(super) const fn hours(name: &'static str) -> Synonym {
    Synonym { name, factor: 60 * 60 * 1000 }
}

impl Synonym {
    /// The broker config's value in the topic config's unit. Any negative time means without end.
    #[must_use]
    pub fn convert(&self, value: &str) -> String {
        match value.trim().parse::<i64>() {
            Ok(number) if self.factor != 1 && number < 0 => "-1".to_owned(),
            Ok(number) if self.factor != 1 => number.saturating_mul(self.factor).to_string(),
            _ => value.to_owned(),
        }
    }
}

/// Reads a boolean in any case.
#[must_use]
pub fn parse_bool(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else {
        value.eq_ignore_ascii_case("false").then_some(false)
    }
}

/// The parts of a list without the blanks around them; no parts for an empty text.
pub fn parse_list(value: &str) -> impl Iterator<Item = &str> {
    let value = value.trim();
    value.split(',').map(str::trim).filter(move |_| !value.is_empty())
}

fn is_replica(part: &str) -> bool {
    part.split_once(':').is_some_and(|(partition, broker)| {
        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
    })
}
