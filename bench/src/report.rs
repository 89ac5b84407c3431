//! Results, as tables for people and as JSON.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    failure::{Failure, Result},
    stats,
    stores::Mode,
};

const BEGIN: &str = "<!-- begin of the measured part -->";
const END: &str = "<!-- end of the measured part -->";

/// What one round of one kind measured, by the name of the figure.
pub(crate) type Figures = Vec<(String, f64)>;

/// All rounds of one kind.
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) rounds: Vec<Figures>,
}

/// What was asked for, and whether it came out.
pub(crate) struct Goal {
    pub(crate) text: &'static str,
    pub(crate) measured: f64,
    pub(crate) is_hit: bool,
}

impl Goal {
    pub(crate) fn at_most(limit: f64, measured: f64, text: &'static str) -> Self {
        Self { text, measured, is_hit: measured <= limit }
    }

    pub(crate) fn at_least(limit: f64, measured: f64, text: &'static str) -> Self {
        Self { text, measured, is_hit: measured >= limit }
    }
}

/// How messages are accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.repeated += other.repeated;
    }
}

/// One benchmark in one mode. Of two rows the second is the raw one that the first is compared with.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) what: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) account: Account,
}

impl Row {
    /// The median of a figure over all rounds that have it.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.rounds.iter().filter_map(|round| value(round, name)).collect();
        (!values.is_empty()).then(|| stats::median(values))
    }
}

fn value(figures: &Figures, name: &str) -> Option<f64> {
    figures.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
}

impl Section {
    /// How the first row stands to the second: the median of the quotients of rounds that followed each other.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        let [subject, raw, ..] = self.rows.as_slice() else { return None };
        let pairs = subject.rounds.iter().zip(&raw.rounds);
        let quotients: Vec<f64> = pairs
            .filter_map(|(subject, raw)| Some((value(subject, name)?, value(raw, name)?)))
            .filter(|(_, raw)| *raw > 0.0)
            .map(|(subject, raw)| subject / raw)
            .collect();
        (!quotients.is_empty()).then(|| stats::median(quotients))
    }

    fn columns(&self) -> Vec<&str> {
        let names =
            self.rows.iter().filter_map(|row| row.rounds.first()).flatten().map(|(name, _)| name.as_str());
        unique(names)
    }

    fn json(&self) -> Value {
        let figures = |figures: &Figures| -> Value {
            figures
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let rows = self.rows.iter().map(|row| {
            let medians =
                self.columns().into_iter().filter_map(|name| Some((name.to_owned(), row.median(name)?)));
            json!({
                "label": row.label,
                "medians": figures(&medians.collect()),
                "rounds": row.rounds.iter().map(figures).collect::<Vec<_>>(),
            })
        });
        let ratios = self
            .columns()
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.ratio(name)?)))
            .collect();
        let goals = self
            .goals
            .iter()
            .map(|goal| json!({ "text": goal.text, "measured": goal.measured, "hit": goal.is_hit }));
        json!({
            "name": self.name,
            "mode": self.mode.to_string(),
            "what": self.what,
            "rows": rows.collect::<Vec<_>>(),
            "ratios": figures(&ratios),
            "goals": goals.collect::<Vec<_>>(),
            "messages": { "expected": self.account.expected, "lost": self.account.lost, "repeated": self.account.repeated },
        })
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// A whole run.
pub(crate) struct Report {
    pub(crate) machine: Vec<(&'static str, String)>,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// Whether no message was lost or repeated.
    pub(crate) fn is_sound(&self) -> bool {
        self.sections.iter().all(|section| section.account.lost == 0 && section.account.repeated == 0)
    }

    /// Every figure of every round.
    pub(crate) fn json(&self) -> String {
        let machine: serde_json::Map<_, _> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let sections: Vec<_> = self.sections.iter().map(Section::json).collect();
        let mut text = format!("{:#}", json!({ "machine": machine, "benchmarks": sections }));
        text.push('\n');
        text
    }

    /// The goals, and a table for each benchmark.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let machine: Vec<_> = self.machine.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let _ = writeln!(text, "{}.\n", machine.join("; "));
        let _ = writeln!(text, "| Goal | Mode | Measured | |\n| --- | --- | ---: | --- |");
        for section in &self.sections {
            for goal in &section.goals {
                let verdict = if goal.is_hit { "hit" } else { "**miss**" };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {verdict} |",
                    goal.text,
                    section.mode,
                    shown(goal.measured)
                );
            }
        }
        for name in unique(self.sections.iter().map(|section| section.name)) {
            let sections: Vec<_> = self.sections.iter().filter(|section| section.name == name).collect();
            table(&mut text, name, &sections);
        }
        text
    }
}

fn table(text: &mut String, name: &str, sections: &[&Section]) {
    let columns = unique(sections.iter().flat_map(|section| section.columns()));
    let _ = writeln!(text, "\n### {name}\n");
    if let Some(section) = sections.first() {
        let _ = writeln!(text, "{}\n", section.what);
    }
    let _ = writeln!(text, "| | | {} |", columns.join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " ---: |".repeat(columns.len()));
    for section in sections {
        for row in &section.rows {
            line(text, section, row.label, &columns, |name| row.median(name));
        }
        if section.rows.len() == 2 {
            line(text, section, "ratio", &columns, |name| section.ratio(name));
        }
    }
    let _ = writeln!(text);
    for Section { mode, account: Account { expected, lost, repeated }, .. } in sections {
        if *expected > 0 {
            let expected = shown(*expected as f64);
            let _ = writeln!(
                text,
                "- {mode}: {expected} messages accounted for: {lost} lost, {repeated} repeated"
            );
        }
    }
}

fn line(
    text: &mut String,
    section: &Section,
    label: &str,
    columns: &[&str],
    find: impl Fn(&str) -> Option<f64>,
) {
    let cells: Vec<_> = columns.iter().map(|name| find(name).map_or(String::new(), shown)).collect();
    let _ = writeln!(text, "| {} | {label} | {} |", section.mode, cells.join(" | "));
}

/// Three digits or so, with commas between thousands.
fn shown(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Puts `markdown` between the marks of the file at `path`.
pub(crate) fn replace(path: &Path, markdown: &str) -> Result<()> {
    let old = fs::read_to_string(path)?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| Failure::new(format!("{} has no marks", path.display())))?;
    fs::write(path, format!("{before}{BEGIN}\n\n{markdown}\n{END}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &'static str, values: &[f64]) -> Row {
        let rounds = values.iter().map(|value| vec![("per second".to_owned(), *value)]).collect();
        Row { label, rounds }
    }

    fn section(account: Account) -> Section {
        let rows = vec![row("QuikApp", &[100.0, 300.0, 4_000.0]), row("raw", &[1_000.0, 1_000.0, 1_000.0])];
        let goals = vec![Goal::at_least(8_000.0, 300.0, "much")];
        Section { name: "sends", mode: Mode::Embedded, what: "What.".to_owned(), rows, goals, account }
    }

    #[test]
    fn tables_show_medians_ratios_and_misses() {
        let account = Account { expected: 1_234, lost: 0, repeated: 0 };
        let report =
            Report { machine: vec![("processors", "2".to_owned())], sections: vec![section(account)] };
        let text = report.markdown();
        assert!(text.contains("| much | embedded | 300 | **miss** |"), "{text}");
        assert!(
            text.contains(
                "| embedded | QuikApp | 300 |\n| embedded | raw | 1,000 |\n| embedded | ratio | 0.30 |"
            ),
            "{text}"
        );
        assert!(text.contains("1,234 messages accounted for: 0 lost, 0 repeated"), "{text}");
        assert!(report.is_sound());
        assert!(report.json().contains("\"hit\": false"));
    }

    #[test]
    fn a_lost_message_spoils_the_run() {
        let account = Account { expected: 2, lost: 1, repeated: 0 };
        assert!(!Report { machine: Vec::new(), sections: vec![section(account)] }.is_sound());
    }

    #[test]
    fn only_the_part_between_the_marks_is_replaced() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("page.md");
        fs::write(&path, format!("before\n{BEGIN}old{END}\nafter\n"))?;
        replace(&path, "new")?;
        assert_eq!(fs::read_to_string(&path)?, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        fs::write(&path, "no marks")?;
        assert!(replace(&path, "new").is_err());
        Ok(())
    }
}
