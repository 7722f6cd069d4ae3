//! The committed reference page is the rendered one.

use expect_test::expect_file;

#[test]
fn the_reference_page_is_fresh() {
    expect_file!["../../docs/reference/configuration.md"]
        .assert_eq(&stent::config::reference::page());
}
