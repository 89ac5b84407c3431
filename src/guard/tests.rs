#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fmt::Write as _, time::Instant};

use async_graphql::Variables;

use super::*;
use crate::failure::ErrorCode::{self, BadRequest, TooCostly};

fn run(text: &str) -> Result<Checked, Failure> {
    check(text, None, &Variables::default(), true, &Limits::default())
}

fn code(text: &str) -> Option<ErrorCode> {
    run(text).err().map(|failure| failure.code)
}

#[test]
fn a_fragment_bomb_is_refused_at_once() {
    let mut text = String::from("{ ...f0 }");
    for n in 0..30 {
        write!(text, " fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1).unwrap();
    }
    text.push_str(" fragment f30 on Query { __typename }");
    let start = Instant::now();
    assert_eq!(code(&text), Some(TooCostly));
    assert!(start.elapsed().as_millis() < 50, "{:?}", start.elapsed());
}

#[test]
fn fragment_cycles_are_refused() {
    let failure = run("{ ...a } fragment a on Query { x { ...b } } fragment b on X { ...a }").unwrap_err();
    assert_eq!(failure.code, BadRequest);
    assert!(failure.message.contains("spreads itself"), "{}", failure.message);
    assert_eq!(code("{ ...a } fragment a on Query { ...a }"), Some(BadRequest));
}

#[test]
fn only_the_chosen_operation_and_its_fragments_are_left() {
    let text = "query A { ...a } query B { ...b } fragment a on Query { ...c } fragment b on Query { x } fragment c on Query { y }";
    let checked = check(text, Some("A"), &Variables::default(), true, &Limits::default()).unwrap();
    let mut names: Vec<_> = checked.document.fragments.keys().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(checked.name.as_deref(), Some("A"));
    assert_eq!(checked.document.operations.iter().count(), 1);

    assert_eq!(code(text), Some(BadRequest));
    assert!(check(text, Some("C"), &Variables::default(), true, &Limits::default()).is_err());
    assert!(check("{ x }", Some("A"), &Variables::default(), true, &Limits::default()).is_err());
    assert_eq!(code("{ x } fragment a on Query { x }"), Some(BadRequest));
}

#[test]
fn depth_breadth_aliases_and_directives_have_limits() {
    let deep =
        |levels: usize| format!("{}x{}", "{ a ".repeat(levels), "}".repeat(levels)).replace("a x", "x");
    assert_eq!(code(&deep(20)), None);
    assert_eq!(code(&deep(21)), Some(TooCostly));
    assert_eq!(code(&format!("{{ a {{ {} }} }}", "x ".repeat(2_001))), Some(TooCostly));
    let aliased: String = (0..101).fold(String::new(), |text, n| format!("{text} x{n}: x"));
    assert_eq!(code(&format!("{{ a {{ {aliased} }} }}")), Some(TooCostly));
    assert_eq!(code(&format!("{{ x {} }}", "@skip(if: false)".repeat(101))), Some(TooCostly));
    assert_eq!(code(&format!("query {} {{ x }}", "@a ".repeat(101))), Some(TooCostly));
    assert_eq!(code(&"{a".repeat(100_000)), Some(TooCostly));
}

#[test]
fn root_fields_are_counted_through_fragments() {
    assert_eq!(code(&format!("{{ {} }}", "x ".repeat(20))), None);
    assert_eq!(code(&format!("{{ {} }}", "x ".repeat(21))), Some(TooCostly));
    assert_eq!(code(&format!("mutation {{ {} }}", "x ".repeat(11))), Some(TooCostly));
    let text = "mutation { ...a ...a } fragment a on Mutation { x x x x x x }";
    assert_eq!(code(text), Some(TooCostly));
    assert_eq!(code("subscription { a }"), None);
    assert_eq!(code("subscription { a b }"), Some(BadRequest));
    assert_eq!(code("subscription { ...a a } fragment a on Subscription { b }"), Some(BadRequest));
    assert_eq!(code("subscription { __typename }"), Some(BadRequest));
}

#[test]
fn page_sizes_multiply() {
    assert_eq!(code("{ a(first: 100) { nodes { b(last: 100) { nodes { x y } } } } }"), None);
    assert_eq!(
        code("{ a(first: 100) { nodes { b(last: 100) { nodes { t u v w x y } } } } }"),
        Some(TooCostly)
    );
    // The default page of a connection, three times nested, through a fragment.
    let text = "{ a { ...c } } fragment c on A { nodes { a { nodes { a { edges { node { x } } } } } } }";
    assert_eq!(code(text), Some(TooCostly));
    let text = "query($n: Int = 100) { a(first: $n) { nodes { b(first: $n) { nodes { t u v w x y } } } } }";
    assert_eq!(code(text), Some(TooCostly));
    let variables = Variables::from_json(serde_json::json!({ "n": 5 }));
    assert!(check(text, None, &variables, true, &Limits::default()).is_ok());
}

#[test]
fn introspection_has_bounds_of_its_own_and_a_switch() {
    let types = |levels| format!("{}kind{}", "ofType { ".repeat(levels), " }".repeat(levels));
    let client = format!("{{ __schema {{ types {{ fields {{ args {{ type {{ {} }} }} }} }} }} }}", types(9));
    assert_eq!(code(&client), None);
    let cubed = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    assert_eq!(code(cubed), Some(TooCostly));
    let deep = format!("{{ __schema {{ types {{ {} }} }} }}", types(40));
    assert_eq!(code(&deep), Some(TooCostly));
    let off = |text| check(text, None, &Variables::default(), false, &Limits::default());
    assert!(off("{ ...a } fragment a on Query { __type(name: \"A\") { name } }").is_err());
    assert!(off("{ __typename }").is_ok());
}

#[test]
fn syntax_errors_say_where_without_repeating_the_source() {
    let failure = run("{ a(secret: }").unwrap_err();
    assert_eq!(failure.code, BadRequest);
    assert!(!failure.message.contains("secret"), "{}", failure.message);
    assert!(failure.message.starts_with("syntax error: "), "{}", failure.message);
    assert_eq!(failure.locations.len(), 1);
}

#[test]
fn required_variables_must_be_given() {
    let text = "query($n: Int!, $m: Int! = 1, $o: Int) { x(n: $n, m: $m, o: $o) }";
    let with =
        |variables| check(text, None, &Variables::from_json(variables), true, &Limits::default()).err();
    assert_eq!(with(serde_json::json!({ "n": 1 })), None);
    let failure = with(serde_json::json!({})).unwrap();
    assert_eq!(failure.message, "variable `$n` of type `Int!` is required");
    assert!(with(serde_json::json!({ "n": null })).is_some());
    assert!(with(serde_json::json!({ "n": 1, "m": null })).is_some());
}
