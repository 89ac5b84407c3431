#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fmt::Write as _, time::Instant};

use async_graphql::Variables;
use async_graphql_parser::types::Selection;

use super::*;
use crate::failure::ErrorCode::{self, BadRequest, TooCostly};

const SDL: &str = "
    type Query { x: Int a(first: Int, last: Int): AConnection! some: A byIds(ids: [ID!]!): [A]! many: [A!]! }
    type Mutation { x: Int change: A }
    type Live { x(n: Int): Int other: Int item: A }
    type AConnection { nodes: [A!]! edges: [AEdge!]! pageInfo: PageInfo! }
    type AEdge { cursor: String! node: A! }
    type PageInfo { hasNextPage: Boolean! }
    type A { t: Int u: Int v: Int w: Int x: Int y: Int other: A friends: [A!]! page(first: Int! = 20): AConnection! }
    schema { query: Query mutation: Mutation subscription: Live }
";

fn shape() -> Shape {
    Shape::new(SDL, &[]).unwrap()
}

/// Checks a document that was never seen.
fn check(
    text: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    introspection: bool,
    shape: &Shape,
    limits: &Limits,
) -> Result<Checked, Failure> {
    super::check(&Documents::default(), text, operation_name, variables, introspection, shape, limits)
}

fn with(text: &str, variables: serde_json::Value) -> Result<Checked, Failure> {
    check(text, None, &Variables::from_json(variables), true, &shape(), &Limits::default())
}

fn run(text: &str) -> Result<Checked, Failure> {
    with(text, serde_json::Value::Null)
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
    // Written out it would take longer than anybody waits.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
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
    let checked = check(text, Some("A"), &Variables::default(), true, &shape(), &Limits::default()).unwrap();
    let mut names: Vec<_> = checked.document.fragments.keys().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(checked.name.as_deref(), Some("A"));
    assert_eq!(checked.document.operations.iter().count(), 1);

    assert_eq!(code(text), Some(BadRequest));
    assert!(check(text, Some("C"), &Variables::default(), true, &shape(), &Limits::default()).is_err());
    assert!(check("{ x }", Some("A"), &Variables::default(), true, &shape(), &Limits::default()).is_err());
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
}

fn root_of(text: &str) -> Result<String, Failure> {
    let checked = run(text)?;
    let DocumentOperations::Single(operation) = checked.document.operations else { panic!("{text}") };
    let [selection] = operation.node.selection_set.node.items.as_slice() else { panic!("{text}") };
    let Selection::Field(field) = &selection.node else { panic!("{text}") };
    let field = &field.node;
    let inner = field.selection_set.node.items.iter().map(|selection| match &selection.node {
        Selection::Field(field) => field.node.response_key().node.to_string(),
        Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name.node),
        Selection::InlineFragment(_) => "...".into(),
    });
    let mut fragments: Vec<_> = checked.document.fragments.keys().map(ToString::to_string).collect();
    fragments.sort();
    Ok(format!(
        "{}: {} {:?} {fragments:?}",
        field.response_key().node,
        field.name.node,
        inner.collect::<Vec<_>>()
    ))
}

#[test]
fn the_root_of_a_subscription_may_stand_in_fragments() {
    for (text, root) in [
        ("subscription { x }", "x: x [] []"),
        ("subscription { ...F } fragment F on Live { n: x(n: 1) }", "n: x [] []"),
        ("subscription { ... on Live { x } }", "x: x [] []"),
        (
            "subscription { ... { ... on Live { ...F } } } fragment F on Live { ...G } fragment G on Live { x }",
            "x: x [] []",
        ),
        ("subscription { ...F x ...F } fragment F on Live { x }", "x: x [] []"),
        (
            "subscription { ...F item { ...G u } } fragment F on Live { item { t ...H } } fragment G on A { v } fragment H on A { w }",
            "item: item [\"t\", \"...H\", \"...G\", \"u\"] [\"G\", \"H\"]",
        ),
    ] {
        assert_eq!(root_of(text).unwrap(), root, "{text}");
    }
}

#[test]
fn a_subscription_has_one_root_field() {
    for text in [
        "subscription { x other }",
        "subscription { x ...F } fragment F on Live { other }",
        "subscription { x b: x }",
        "subscription { x(n: 1) ... { x(n: 2) } }",
        "subscription { x(n: 1) x }",
        "subscription { x: other ... { x } }",
        "subscription { __typename }",
        "subscription { ...F } fragment F on Live { __typename }",
        "subscription { ...F } fragment F on Query { x }",
        "subscription { ... on A { x } x }",
        "subscription { ...Missing }",
        "subscription { x @skip(if: true) }",
        "subscription { x @include(if: true) }",
        "subscription($y: Boolean!) { ...F @include(if: $y) } fragment F on Live { x }",
        "subscription { ... @skip(if: false) { x } }",
        "subscription { ...F } fragment F on Live { x ...F }",
        "subscription { ...F } fragment F on Live { ... on Live { ...G } } fragment G on Live { ...F x }",
        "subscription { ...F } fragment F on Live @other { x }",
    ] {
        let failure = check(
            text,
            None,
            &Variables::from_json(serde_json::json!({ "y": true })),
            true,
            &shape(),
            &Limits::default(),
        );
        assert_eq!(failure.unwrap_err().code, BadRequest, "{text}");
    }
}

#[test]
fn a_variable_weighs_each_time_that_it_is_used() {
    let long = serde_json::json!({ "v": vec![1; 5_000] });
    let used = |times: usize| format!("query($v: [ID!]) {{ byIds(ids: [{}]) {{ t }} }}", "$v ".repeat(times));
    assert!(with(&used(35), long.clone()).is_ok());
    let failure = with(&used(45), long.clone()).unwrap_err();
    assert_eq!((failure.code, failure.message.contains("values in its arguments")), (TooCostly, true));
    let default = format!(
        "query($v: [ID!] = [{}]) {{ byIds(ids: [{}]) {{ t }} }}",
        "1 ".repeat(3_000),
        "$v ".repeat(70)
    );
    assert_eq!(code(&default), Some(TooCostly));
    // 64 bytes of a text weigh as a value.
    let text = serde_json::json!({ "v": "a".repeat(900_000) });
    assert!(with(&used(14), text.clone()).is_ok());
    assert_eq!(with(&used(15), text.clone()).unwrap_err().code, TooCostly);

    // In directives, in objects, in fragments each time that they are spread, and where nothing is selected of a list.
    for text in [
        format!("query($v: [ID!]) {{ {} }}", "x @skip(if: $v) ".repeat(45)),
        format!("query($v: [ID!]) {{ x(a: {{ b: [{}] }}) }}", "{ c: $v } ".repeat(45)),
        format!("query($v: [ID!]) {{ {} }} fragment F on Query {{ x(a: $v) }}", "...F ".repeat(45)),
        format!("query($v: [ID!]) {{ byIds(ids: []) {{ {} }} }}", "t(a: $v) ".repeat(45)),
        // As often as its field is resolved.
        "query($v: [ID!]) { a(first: 50) { nodes { t(a: $v) } } }".to_owned(),
        "query($v: [ID!]) { a(first: 50) { ...F } } fragment F on AConnection { nodes { t(a: $v) } }"
            .to_owned(),
        "query($v: [ID!]) { byIds(ids: $v) { t(a: $v) } }".to_owned(),
    ] {
        let failure = with(&text, long.clone()).unwrap_err();
        assert!(failure.message.contains("values in its arguments"), "{}: {text}", failure.message);
    }
    assert!(with("query($v: [ID!]) { a(first: 30) { nodes { t(a: $v) } } }", long).is_ok());
}

fn cost(text: &str, variables: serde_json::Value) -> u64 {
    with(text, variables).unwrap().cost
}

#[test]
fn lists_multiply_what_is_in_them() {
    let none = serde_json::Value::Null;
    for (text, expected) in [
        ("{ x }", 1),
        ("{ some { t u } }", 3),
        // A page of 100 and its `nodes`, `pageInfo` once.
        ("{ a(first: 100) { nodes { t u } pageInfo { hasNextPage } } }", 1 + 1 + 200 + 2),
        ("{ a(last: 10) { edges { cursor node { t } } } }", 1 + 1 + 10 * 3),
        ("{ a { nodes { t } } }", 1 + 1 + 50),
        ("{ a(first: null) { nodes { t } } }", 1 + 1 + 50),
        // More than the API gives is refused by the field.
        ("{ a(first: 1000000) { nodes { t } } }", 1 + 1 + 200),
        ("{ some { page { nodes { t } } } }", 1 + 1 + 1 + 20),
        ("{ some { friends { t u } } }", 1 + 1 + 20),
        ("{ byIds(ids: [1, 2, 3]) { t } }", 1 + 3),
        ("{ byIds(ids: 1) { t } }", 1 + 1),
        ("{ a(first: 3) { nodes { page(first: 5) { nodes { t } } } } }", 1 + 1 + 3 * (1 + 1 + 5)),
        // A fragment on a connection has the page of where it is spread.
        (
            "{ a: a(first: 3) { ...F } b: a(first: 4) { ...F } } fragment F on AConnection { nodes { t } }",
            2 + 1 + 3 + 1 + 4,
        ),
        ("{ a(first: 3) { ... on AConnection { ... { nodes { t } } } } }", 1 + 1 + 3),
    ] {
        assert_eq!(cost(text, none.clone()), expected, "{text}");
    }
    let text = "query($n: Int = 7, $ids: [ID!]!) { a(first: $n) { nodes { t } } byIds(ids: $ids) { t } }";
    assert_eq!(cost(text, serde_json::json!({ "ids": [1, 2] })), 1 + 1 + 7 + 1 + 2);
    assert_eq!(cost(text, serde_json::json!({ "n": 9, "ids": "1" })), 1 + 1 + 9 + 1 + 1);
    assert_eq!(cost(text, serde_json::json!({ "n": null, "ids": [] })), 1 + 1 + 50 + 1);
    let text = "{ a(first: 100) { nodes { page(first: 100) { nodes { t u v w x } } } } }";
    assert_eq!(code(text), Some(TooCostly));
    let text = "{ a { ...F } } fragment F on AConnection { nodes { page { nodes { page { edges { node { page { nodes { t } } } } } } } } }";
    assert_eq!(code(text), Some(TooCostly));
}

#[test]
fn store_queries_are_estimated() {
    let queries = |text: &str| run(text).unwrap().store_queries;
    for (text, expected) in [
        ("{ x }", 5),
        ("{ some { t other { t } } }", 4 + 3),
        // A loader reads for all of a list, with up to 1,000 objects a query.
        ("{ a(first: 100) { nodes { other { t } } } }", 4 + 2 + 1),
        // A page for each item of a page; what is behind each page comes at its own time.
        ("{ a(first: 10) { nodes { page { nodes { t } } } } }", 4 + 10 * 3 + 1),
        ("{ a(first: 10) { nodes { page { nodes { other { t } } } } } }", 4 + 10 * (3 + 2) + 1),
        ("mutation { change { t } }", 20),
    ] {
        assert_eq!(queries(text), expected, "{text}");
    }
    assert_eq!(code("{ a(first: 100) { nodes { page { nodes { other { t } } } } } }"), Some(TooCostly));
    assert_eq!(
        code("{ many { friends { page { nodes { t } } } } b: many { friends { page { nodes { t } } } } }"),
        Some(TooCostly)
    );
}

#[test]
fn variables_have_limits() {
    let declared: String = (0..101).fold(String::new(), |text, n| format!("{text} $v{n}: Int"));
    assert_eq!(code(&format!("query({declared}) {{ x }}")), Some(TooCostly));
    let values = |count: usize| serde_json::json!({ "v": { "w": vec![1; count] } });
    let text = "query($v: JSON) { x(v: $v) }";
    assert!(with(text, values(9_998)).is_ok());
    assert_eq!(with(text, values(9_999)).unwrap_err().code, TooCostly);
    let many: serde_json::Map<_, _> = (0..10_001).map(|n| (format!("v{n}"), serde_json::json!(1))).collect();
    assert_eq!(with(text, many.into()).unwrap_err().code, TooCostly);
    let arguments: String = (0..1_001).fold(String::new(), |text, n| format!("{text} v{n}: 1"));
    assert_eq!(code(&format!("{{ x({arguments}) }}")), Some(TooCostly));
    assert_eq!(code(&format!("query @a({arguments}) {{ x }}")), Some(TooCostly));
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
    let off = |text| check(text, None, &Variables::default(), false, &shape(), &Limits::default());
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
    let with = |variables| with(text, variables).err();
    assert_eq!(with(serde_json::json!({ "n": 1 })), None);
    let failure = with(serde_json::json!({})).unwrap();
    assert_eq!(failure.message, "variable `$n` of type `Int!` is required");
    assert!(with(serde_json::json!({ "n": null })).is_some());
    assert!(with(serde_json::json!({ "n": 1, "m": null })).is_some());
}

fn real_shape() -> Shape {
    Shape::new(&quikapp_graphql::sdl(), quikapp_graphql::FIELD_COSTS).unwrap()
}

#[test]
fn what_the_explorer_shows_is_allowed() {
    let examples = include_str!("../../web/src/examples.js").split('`').skip(1).step_by(2);
    let (shape, mut count) = (real_shape(), 0);
    for text in examples.filter(|text| !text.contains("${")) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split('$').skip(1).map(|rest| rest.split(|c| !is_name(c)).next().unwrap());
        let variables: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), "x".into())).collect();
        let variables = Variables::from_json(variables.into());
        let operations = text.lines().filter_map(|line| {
            let kinds = ["query ", "mutation ", "subscription "];
            kinds.iter().find_map(|kind| line.strip_prefix(kind))?.split(|c| !is_name(c)).next()
        });
        for operation in operations {
            let checked = check(text, Some(operation), &variables, true, &shape, &Limits::default());
            let store_queries =
                checked.unwrap_or_else(|failure| panic!("{failure:?} for {operation}")).store_queries;
            assert!(store_queries < 100, "{store_queries} queries for {operation}");
            count += 1;
        }
    }
    assert!(count > 5, "{count} operations");
}

#[test]
fn costs_are_of_fields_that_exist() {
    let shape = real_shape();
    for cost in quikapp_graphql::FIELD_COSTS {
        let field = shape.get(&Name::new(cost.parent), &Name::new(cost.field));
        let field = field.unwrap_or_else(|| panic!("there is no {}.{}", cost.parent, cost.field));
        if let Some(items) = cost.items {
            assert!(
                matches!(field.many, shape::Many::Items(count, _) if count == items),
                "{}.{}",
                cost.parent,
                cost.field
            );
        }
    }
}

#[test]
fn introspection_is_counted_by_the_length_of_its_lists() {
    let of = "kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } }";
    let input = format!("name description type {{ {of} }} defaultValue isDeprecated deprecationReason");
    // What graphql-js asks for, with all its options, in place of fragments.
    let client = format!(
        "{{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} subscriptionType {{ name kind }}
            types {{ kind name description specifiedByURL isOneOf
                fields(includeDeprecated: true) {{ name description args(includeDeprecated: true) {{ {input} }} type {{ {of} }} isDeprecated deprecationReason }}
                inputFields(includeDeprecated: true) {{ {input} }} interfaces {{ {of} }}
                enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }} possibleTypes {{ {of} }}
            }}
            directives {{ name description isRepeatable locations args(includeDeprecated: true) {{ {input} }} }}
        }} }}"
    );
    let shape = real_shape();
    let least = |text: &str| {
        let allows = |limit| {
            let limits = Limits { introspection_cost: limit, ..Limits::default() };
            check(text, None, &Variables::default(), true, &shape, &limits).is_ok()
        };
        (1..10_000).map(|thousands| thousands * 1_000).find(|limit| allows(*limit)).unwrap()
    };
    let usual = least(&client);
    assert!((20_000..70_000).contains(&usual), "{usual}");
    let squared: String = (0..90).fold(String::new(), |text, n| format!("{text} a{n}: name"));
    let squared = format!("{{ __schema {{ types {{ fields {{ type {{ fields {{ {squared} }} }} }} }} }} }}");
    assert!(least(&squared) > 10 * least("{ __schema { types { fields { name } } } }"));
    let often: String =
        (0..20).fold(String::new(), |text, n| format!("{text} a{n}: {}", &client[2..client.len() - 2]));
    assert_eq!(
        check(&format!("{{ {often} }}"), None, &Variables::default(), true, &shape, &Limits::default())
            .unwrap_err()
            .code,
        TooCostly
    );
}

#[test]
fn a_subscription_is_short() {
    let text = "subscription($v: String) { x(n: $v) }";
    let long = |bytes| serde_json::json!({ "v": "a".repeat(bytes) });
    let limit = Limits::default().subscription_bytes - text.len();
    let checked = with(text, long(limit)).unwrap();
    assert!(checked.declares(&Name::new("v")) && !checked.declares(&Name::new("w")));
    assert_eq!(with(text, long(limit + 1)).unwrap_err().code, TooCostly);
    assert!(with("query($v: String) { x(n: $v) }", long(limit + 1)).is_ok());
}

#[test]
fn a_document_that_was_seen_is_checked_like_a_new_one() {
    let (documents, shape, limits) = (Documents::default(), shape(), Limits::default());
    let check = |text: &str, name: Option<&str>, variables: serde_json::Value, introspection| {
        let variables = Variables::from_json(variables);
        super::check(&documents, text, name, &variables, introspection, &shape, &limits)
    };
    let text = "query A($n: Int!) { a(first: $n) { nodes { page(first: $n) { nodes { t } } } } } \
                query B { some { ...F } } query C { __schema { description } } fragment F on A { u }";
    let none = || serde_json::json!({});
    for _ in 0..3 {
        let small = check(text, Some("A"), serde_json::json!({ "n": 2 }), true).unwrap();
        let large = check(text, Some("A"), serde_json::json!({ "n": 20 }), true).unwrap();
        assert!(small.cost < large.cost && large.document.fragments.is_empty());
        let other = check(text, Some("B"), none(), true).unwrap();
        assert_eq!((other.name.as_deref(), other.document.fragments.len()), (Some("B"), 1));
        assert!(check(text, Some("C"), none(), true).is_ok());

        let refused = |result: Result<Checked, Failure>| result.unwrap_err().code;
        assert_eq!(refused(check(text, Some("A"), serde_json::json!({ "n": 100_000 }), true)), TooCostly);
        assert_eq!(refused(check(text, Some("A"), none(), true)), BadRequest);
        assert_eq!(refused(check(text, None, none(), true)), BadRequest);
        assert_eq!(refused(check(text, Some("C"), none(), false)), BadRequest);
        assert_eq!(refused(check("{ x ", None, none(), true)), BadRequest);
        assert_eq!(refused(check("{ x } fragment F on A { u }", None, none(), true)), BadRequest);
    }
}

#[test]
fn documents_are_remembered_up_to_a_bound() {
    let (documents, shape, limits) = (Documents::default(), shape(), Limits::default());
    let check =
        |text: &str| super::check(&documents, text, None, &Variables::default(), true, &shape, &limits);
    let is_kept = |text: &str| {
        let read = || documents.read(text, &limits).unwrap();
        std::sync::Arc::ptr_eq(&read(), &read())
    };
    assert!(check("{ x }").is_ok() && is_kept("{ x }"));
    // Too long, and refused.
    let long = format!("{{ x }} {}", " ".repeat(20_000));
    assert!(check(&long).is_ok() && !is_kept(&long));
    let refused = "query($ids: [ID!]!) { byIds(ids: $ids) { t } }";
    assert!(check(refused).is_err() && !is_kept(refused));
    // Far more than are kept.
    for number in 0..3_000 {
        check(&format!("{{ x{number}: x }} {}", " ".repeat(1_000))).unwrap();
    }
    assert!((32 << 20..=64 << 20).contains(&documents.bytes()), "{}", documents.bytes());
}
