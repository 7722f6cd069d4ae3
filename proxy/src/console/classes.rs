//! `SHOW CLASSES`: who waits behind whom, and what each class of clients gets.
//!
//! One row for each class of `queue_classes`, over all pools; none where there are fewer than two.
//! Invariant: the figures are those of the metrics with the label `class`.

use super::show::View;
use super::table::{Column, Table, text, whole};

const COLUMNS: &[Column] = &[
    text("class"),
    whole("weight"),
    whole("waiting"),
    whole("maxwait"),
    whole("maxwait_us"),
    whole("served"),
    whole("timeouts"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    for (name, class) in view.broker.classes(view.now) {
        table.push(vec![
            name.into(),
            u32::from(class.weight.get()).into(),
            class.waiting.into(),
            class.maxwait.as_secs().into(),
            class.maxwait.subsec_micros().into(),
            class.served.into(),
            class.timeouts.into(),
        ]);
    }
    table
}
