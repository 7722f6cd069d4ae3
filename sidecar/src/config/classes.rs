//! `queue_classes`: classes of clients in words.
//!
//! Invariant: what is shown parses to the same classes.

use std::num::NonZeroU16;

use stent_proxy::config::{CLASSES_MAX, Class, ClassRule, QueueClasses, Whom};

use super::rules::{list, pair, show_whom, words};
use super::value::{KeyType, TomlShape};

/// The most that a class weighs.
const WEIGHT_MAX: u16 = 100;
/// What the usual class weighs unless it is told otherwise.
const USUAL: NonZeroU16 = NonZeroU16::new(10).expect("it is not zero");
/// The name of the usual class.
const USUAL_NAME: &str = "default";

/// Classes, in the order in which their rules are tried.
#[derive(Clone, Debug)]
pub struct Classes(pub QueueClasses);

impl KeyType for Classes {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "classes such as \"background application_name=report* \
                                   weight=1\", with commas between them";
    fn parse(text: &str) -> Result<Self, String> {
        let mut classes = QueueClasses::default();
        let mut weights = Vec::new();
        for part in list(text)? {
            parse_rule(&part, &mut classes, &mut weights)?;
        }
        let usual = |at: usize| if at == 0 { USUAL } else { NonZeroU16::MIN };
        let weights = weights.into_iter().enumerate();
        classes.weights = weights.map(|(at, weight)| weight.unwrap_or_else(|| usual(at))).collect();
        if classes.rules.is_empty() && classes.names.len() > 1 {
            return Err("has classes of which nobody is".to_owned());
        }
        Ok(Self(classes))
    }
    fn show(&self) -> String {
        let QueueClasses { names, weights, rules } = &self.0;
        let mut shown = vec![false; names.len()];
        let mut parts = Vec::new();
        if let Some(weight) = weights.first().filter(|weight| **weight != USUAL) {
            parts.push(format!("{USUAL_NAME} weight={weight}"));
            shown[0] = true;
        }
        for rule in rules {
            let at = usize::from(rule.class.0);
            let mut words = vec![names[at].clone()];
            words.extend(show_whom(&rule.whom));
            if !std::mem::replace(&mut shown[at], true) && at > 0 && weights[at].get() > 1 {
                words.push(format!("weight={}", weights[at]));
            }
            parts.push(words.join(" "));
        }
        parts.join(", ")
    }
}

fn parse_rule(
    text: &str,
    classes: &mut QueueClasses,
    weights: &mut Vec<Option<NonZeroU16>>,
) -> Result<(), String> {
    if classes.names.is_empty() {
        classes.names.push(USUAL_NAME.to_owned());
        weights.push(None);
    }
    let mut words = words(text)?.into_iter();
    let name = words.next().unwrap_or_default();
    if name.contains(['=', '"']) {
        return Err(format!("has a rule that begins with {name:?} and not with a class's name"));
    }
    let number = classes.names.iter().position(|known| *known == name).unwrap_or_else(|| {
        classes.names.push(name.clone());
        weights.push(None);
        classes.names.len() - 1
    });
    let class = match u8::try_from(number) {
        Ok(small) if number < CLASSES_MAX => Class(small),
        _ => return Err(format!("has more than {CLASSES_MAX} classes, {USUAL_NAME} included")),
    };
    let mut whom = Whom::EVERYBODY;
    for word in words {
        let (key, value) = pair(&word);
        if let Some(selector) = whom.selector_mut(key) {
            *selector = Some(value.to_owned());
        } else if key != "weight" {
            return Err(format!("has {word:?}, which is no selector and no weight"));
        } else if weights[number].is_some() {
            return Err(format!("has two weights of the class {name}"));
        } else {
            weights[number] = Some(weight(value)?);
        }
    }
    match (whom.is_everybody(), class) {
        (false, _) => classes.rules.push(ClassRule { class, whom }),
        (true, Class::USUAL) => {}
        (true, _) => {
            let why = "say whom by database=, user= or application_name=";
            return Err(format!("has a rule of the class {name} that is for everybody: {why}"));
        }
    }
    Ok(())
}

fn weight(text: &str) -> Result<NonZeroU16, String> {
    let weight = text.parse::<NonZeroU16>().ok().filter(|weight| weight.get() <= WEIGHT_MAX);
    let wrong = || format!("has the weight {text:?}, which is not a number from 1 to {WEIGHT_MAX}");
    weight.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_and_shown_again() {
        for text in [
            "",
            "background application_name=report*",
            "default weight=20, background user=etl weight=2, background application_name=\"a, b\"",
            "default user=etl application_name=urgent, background user=etl, bulk database=lake weight=3",
        ] {
            assert_eq!(Classes::parse(text).unwrap().show(), text);
        }
    }

    #[test]
    fn a_class_has_its_number_its_weight_and_its_rules() {
        let text = "slow user=etl, slow user=cron, slower database=lake weight=2";
        let classes = Classes::parse(text).unwrap().0;
        assert_eq!(classes.names, ["default", "slow", "slower"]);
        assert_eq!(
            classes.weights.iter().map(|weight| weight.get()).collect::<Vec<_>>(),
            [10, 1, 2]
        );
        assert_eq!(classes.rules.iter().map(|rule| rule.class.0).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn what_makes_no_class_is_refused_with_its_reason() {
        let many = (0..8).map(|n| format!("c{n} user=u{n}")).collect::<Vec<_>>().join(", ");
        for (text, reason) in [
            ("background", "for everybody"),
            ("background weight=3", "for everybody"),
            ("user=etl", "not with a class's name"),
            ("background client=1", "no selector and no weight"),
            ("background user=etl weight=0", "from 1 to 100"),
            ("background user=etl weight=101", "from 1 to 100"),
            ("background user=etl weight=2, background user=b weight=2", "two weights"),
            ("background user=\"etl", "double quote"),
            (&many, "more than 8 classes"),
        ] {
            let refused = Classes::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
