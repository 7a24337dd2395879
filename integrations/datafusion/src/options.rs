//! How text is recognised: the settings of a session, and the `options` argument of a call.

use std::any::Any;
use std::collections::BTreeMap;

use datafusion::arrow::array::Array;
use datafusion::common::{config_err, exec_datafusion_err, exec_err};
use datafusion::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

/// What an option's text must be.
enum Kind {
    Text,
    /// A file, or one of these names.
    File {
        or: &'static [&'static str],
    },
    Whole,
    Number,
    Switch,
    OneOf(&'static [&'static str]),
}

struct Key {
    name: &'static str,
    kind: Kind,
    about: &'static str,
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about }
}

/// The options that a network is loaded with.
static NETWORK: [Key; 7] = [
    key(
        "weights",
        Kind::File { or: &["latin"] },
        "weights file, or `latin`, the embedded model for Latin scripts; the embedded English one if it is not given",
    ),
    key(
        "charset",
        Kind::File { or: &["english"] },
        "`english`, or a dictionary file, for weights without a charset",
    ),
    key("space", Kind::Switch, "append a space to the dictionary"),
    key("max_ratio", Kind::Whole, "largest aspect ratio that keeps its width"),
    key(
        "orientation",
        Kind::OneOf(&["as-is", "rotate-tall", "best-of-tall", "any"]),
        "what is done with crops taller than 1.5 times their width",
    ),
    key("precision", Kind::OneOf(&["f32", "int8"]), "number type of the network"),
    key("temperature", Kind::Number, "temperature of confidences"),
];

/// The options of a decoder, of which a network can have many.
static DECODER: [Key; 16] = [
    key("decoder", Kind::OneOf(&["greedy", "beam", "english", "latin"]), "search of texts"),
    key("beam", Kind::Whole, "width of the beam"),
    key("top_k", Kind::Whole, "classes of a frame that the search looks at"),
    key("top_mass", Kind::Number, "probability of a frame that the search looks at"),
    key("blank_skip", Kind::Number, "blank's probability above which a frame is skipped"),
    key("lm", Kind::File { or: &[] }, "character n-gram model in ARPA format"),
    key("lm_words", Kind::Switch, "the model is one of words"),
    key("lm_weight", Kind::Number, "weight of the language model"),
    key("length_bonus", Kind::Number, "bonus for every character"),
    key("lexicon", Kind::File { or: &[] }, "file of permitted words, one a line"),
    key("lexicon_penalty", Kind::Number, "cost in nats of words outside the lexicon"),
    key(
        "hot_words",
        Kind::File { or: &[] },
        "file of expected words, one a line, each with a tab and its bonus",
    ),
    key("ignore_case", Kind::Switch, "ignore the letter case of lexicon and expected words"),
    key("allow", Kind::Text, "the only characters that are recognised"),
    key("deny", Kind::Text, "characters that are never recognised"),
    key("renormalize", Kind::Switch, "divide probabilities by those of the permitted characters"),
];

/// The options of the detector, for `read_page`.
static DETECTOR: [Key; 1] = [key(
    "detector",
    Kind::File { or: &[] },
    "file of the network that finds the lines of pages, for read_page",
)];

/// The options of results, whatever recognised them.
static RESULT: [Key; 1] =
    [key("words_by_gaps", Kind::Switch, "words end at wide gaps too, not at spaces alone")];

/// How text is recognised: the extension `svtrv2` of DataFusion's configuration.
///
/// A session has one: `SET svtrv2.decoder = 'english'`. A call's `options` argument changes a copy.
/// Values are texts, as `SET` gives them; they are checked as they are set. An option without a value
/// has its default; the empty text takes a value away.
///
/// ```
/// use datafusion::config::ExtensionOptions;
/// use svtrv2_datafusion::ReadOptions;
///
/// let mut options = ReadOptions::default();
/// options.set("allow", "0123456789")?;
/// assert_eq!(options.get("allow"), Some("0123456789"));
/// assert!(options.set("precision", "f64").is_err());
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadOptions {
    values: BTreeMap<&'static str, String>,
}

impl ReadOptions {
    /// The names of all options, each with a sentence about it.
    pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
        all_keys().map(|key| (key.name, key.about))
    }

    /// The value of an option, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// These options without those of the decoder and of results.
    pub(crate) fn of_network(&self) -> Self {
        self.without(&[&DECODER, &DETECTOR, &RESULT])
    }

    /// These options without those of the detector and of results.
    pub(crate) fn of_recognizer(&self) -> Self {
        self.without(&[&DETECTOR, &RESULT])
    }

    /// The options of the decoder.
    pub(crate) fn of_decoder(&self) -> impl Iterator<Item = (&'static str, &str)> {
        DECODER.iter().filter_map(|key| Some((key.name, self.get(key.name)?)))
    }

    /// All options that are set, and whether the value is a file.
    pub(crate) fn set_ones(&self) -> impl Iterator<Item = (&'static str, &str, bool)> {
        all_keys().filter_map(|key| {
            let value = self.get(key.name)?;
            let is_file = matches!(key.kind, Kind::File { or } if !or.contains(&value));
            Some((key.name, value, is_file))
        })
    }

    fn without(&self, groups: &[&[Key]]) -> Self {
        let mut values = self.values.clone();
        values.retain(|name, _| groups.iter().copied().flatten().all(|key| key.name != *name));
        ReadOptions { values }
    }

    /// A value that was checked when it was set.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let wrong = |value| exec_datafusion_err!("svtrv2.{name}: {value:?} is out of range");
        self.get(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// True if an option is switched on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The options that the argument of a call changes: a struct or a map of texts, numbers and
    /// booleans, or NULL.
    pub(crate) fn changed_by(&self, argument: &ScalarValue) -> Result<Self> {
        let mut options = self.clone();
        match argument {
            ScalarValue::Struct(array) if argument.is_null() || array.is_empty() => {}
            ScalarValue::Struct(array) => {
                for (field, column) in array.fields().iter().zip(array.columns()) {
                    options.change(field.name(), &ScalarValue::try_from_array(column, 0)?)?;
                }
            }
            ScalarValue::Map(array) if argument.is_null() || array.is_empty() => {}
            ScalarValue::Map(array) => {
                let entries = array.value(0);
                for row in 0..entries.len() {
                    let name = ScalarValue::try_from_array(entries.column(0), row)?.to_string();
                    let value = ScalarValue::try_from_array(entries.column(1), row)?;
                    options.change(&name, &value)?;
                }
            }
            null if null.is_null() => {}
            other => return exec_err!("options are a struct or a map, not {}", other.data_type()),
        }
        Ok(options)
    }

    fn change(&mut self, name: &str, value: &ScalarValue) -> Result<()> {
        match value {
            null if null.is_null() => Ok(()),
            value => self.set(name, &value.to_string()),
        }
    }
}

/// The option of a name, or an error that lists all names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    find(name).map(|_| ())
}

fn all_keys() -> impl Iterator<Item = &'static Key> {
    NETWORK.iter().chain(&DECODER).chain(&DETECTOR).chain(&RESULT)
}

fn find(name: &str) -> Result<&'static Key> {
    match all_keys().find(|key| key.name == name) {
        Some(key) => Ok(key),
        None => {
            let names: Vec<&str> = all_keys().map(|key| key.name).collect();
            config_err!("svtrv2 has no option {name:?}; there are {}", names.join(", "))
        }
    }
}

/// The value as it is kept, if it is one of this kind.
fn checked(kind: &Kind, value: &str) -> std::result::Result<String, String> {
    match kind {
        Kind::Text | Kind::File { .. } => Ok(value.to_owned()),
        Kind::Whole if value.parse::<u32>().is_ok() => Ok(value.to_owned()),
        Kind::Whole => Err("a whole number".to_owned()),
        Kind::Number if value.parse::<f64>().is_ok_and(f64::is_finite) => Ok(value.to_owned()),
        Kind::Number => Err("a number".to_owned()),
        Kind::Switch => match value.to_ascii_lowercase().as_str() {
            switch @ ("true" | "false") => Ok(switch.to_owned()),
            _ => Err("true or false".to_owned()),
        },
        Kind::OneOf(choices) if choices.contains(&value) => Ok(value.to_owned()),
        Kind::OneOf(choices) => Err(choices.join(", ")),
    }
}

impl ConfigExtension for ReadOptions {
    const PREFIX: &'static str = "svtrv2";
}

impl ExtensionOptions for ReadOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let key = find(name)?;
        if value.is_empty() {
            self.values.remove(key.name);
            return Ok(());
        }
        match checked(&key.kind, value) {
            Ok(value) => self.values.insert(key.name, value),
            Err(expected) => return config_err!("svtrv2.{name} is {expected}, not {value:?}"),
        };
        Ok(())
    }

    /// With the prefix: this is what `SHOW` looks for, and what Ballista sends to executors.
    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |(name, description)| ConfigEntry {
            key: format!("{}.{name}", Self::PREFIX),
            value: self.get(name).map(str::to_owned),
            description,
        };
        Self::keys().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn one_row(fields: Vec<(&str, ArrayRef)>) -> ScalarValue {
        let fields = fields.into_iter().map(|(name, array)| {
            (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
        });
        ScalarValue::Struct(Arc::new(fields.collect::<Vec<_>>().into()))
    }

    #[test]
    fn values_are_checked() {
        let table = [
            ("weights", "a b.safetensors", true),
            ("beam", "12", true),
            ("beam", "-1", false),
            ("beam", "1.5", false),
            ("lm_weight", "-0.25", true),
            ("lm_weight", "inf", false),
            ("space", "TRUE", true),
            ("space", "1", false),
            ("decoder", "beam", true),
            ("decoder", "greedier", false),
            ("colour", "red", false),
        ];
        for (name, value, valid) in table {
            let mut options = ReadOptions::default();
            assert_eq!(options.set(name, value).is_ok(), valid, "{name} = {value}");
            assert_eq!(options.get(name).is_some(), valid, "{name} = {value}");
        }
        let mut options = ReadOptions::default();
        let error = options.set("decoder", "fast").unwrap_err().to_string();
        assert!(error.contains("greedy, beam, english") && error.contains("fast"), "{error}");
        let error = options.set("colour", "red").unwrap_err().to_string();
        assert!(error.contains("colour") && error.contains("allow"), "{error}");
    }

    #[test]
    fn an_argument_changes_a_copy() {
        let mut session = ReadOptions::default();
        session.set("beam", "4").unwrap();
        session.set("allow", "abc").unwrap();
        let argument = one_row(vec![
            ("allow", Arc::new(StringArray::from(vec!["xyz"]))),
            ("lm_weight", Arc::new(Float64Array::from(vec![0.5]))),
            ("deny", Arc::new(StringArray::from(vec![None::<&str>]))),
        ]);
        let options = session.changed_by(&argument).unwrap();
        assert_eq!(options.get("beam"), Some("4"));
        assert_eq!(options.get("allow"), Some("xyz"));
        assert_eq!(options.parsed::<f64>("lm_weight").unwrap(), Some(0.5));
        assert_eq!(options.get("deny"), None);
        assert_eq!(session.get("allow"), Some("abc"));
        assert_eq!(session.changed_by(&ScalarValue::Null).unwrap(), session);
        let null = ScalarValue::try_new_null(&DataType::Utf8).unwrap();
        assert_eq!(session.changed_by(&null).unwrap(), session);
        assert!(session.changed_by(&ScalarValue::from("allow=abc")).is_err());
    }

    #[test]
    fn each_part_has_its_own_options() {
        let mut options = ReadOptions::default();
        options.set("precision", "int8").unwrap();
        options.set("allow", "abc").unwrap();
        options.set("words_by_gaps", "true").unwrap();
        for (part, allow) in [(options.of_network(), None), (options.of_recognizer(), Some("abc"))]
        {
            assert_eq!(part.get("precision"), Some("int8"));
            assert_eq!(part.get("allow"), allow);
            assert_eq!(part.get("words_by_gaps"), None);
        }
    }

    #[test]
    fn entries_carry_the_prefix() {
        let mut options = ReadOptions::default();
        options.set("beam", "4").unwrap();
        let entries = options.entries();
        assert_eq!(entries.len(), NETWORK.len() + DECODER.len() + DETECTOR.len() + RESULT.len());
        let set: Vec<_> = entries.iter().filter(|entry| entry.value.is_some()).collect();
        assert_eq!(set.len(), 1);
        assert_eq!((set[0].key.as_str(), set[0].value.as_deref()), ("svtrv2.beam", Some("4")));
    }
}
