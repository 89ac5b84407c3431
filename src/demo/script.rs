//! Who is in the demo, and what they say.

use quikapp_chat::{entities::channels::ChannelType, messages::MessageKind};

/// Somebody who can sign in.
pub(super) struct Person {
    /// The address's first part, and what the lines call them.
    pub(super) name: &'static str,
    pub(super) display_name: &'static str,
}

impl Person {
    pub(super) fn email(&self) -> String {
        format!("{}@quikapp.example", self.name)
    }
}

const fn person(name: &'static str, display_name: &'static str) -> Person {
    Person { name, display_name }
}

/// The first one owns the workspace.
pub(super) const PEOPLE: &[Person] = &[
    person("demo", "Demo"),
    person("ada", "Ada Moreau"),
    person("ben", "Ben Okafor"),
    person("chiara", "Chiara Rossi"),
    person("dmitri", "Dmitri Volkov"),
    person("emi", "Emi Tanaka"),
    person("fatima", "Fatima Haddad"),
    person("greta", "Greta Lindqvist"),
];

/// A channel of the demo.
pub(super) struct Room {
    pub(super) name: &'static str,
    pub(super) kind: ChannelType,
    pub(super) topic: &'static str,
    /// Who is in it from the start, beside the owner.
    pub(super) people: &'static [&'static str],
}

const ALL: &[&str] = &["ada", "ben", "chiara", "dmitri", "emi", "fatima", "greta"];

pub(super) const ROOMS: &[Room] = &[
    Room { name: "general", kind: ChannelType::Public, topic: "", people: ALL },
    Room { name: "random", kind: ChannelType::Public, topic: "Anything but work", people: ALL },
    Room { name: "help", kind: ChannelType::Public, topic: "Ask, and somebody knows", people: ALL },
    Room {
        name: "launch",
        kind: ChannelType::Private,
        topic: "Version 2, not public yet",
        people: &["ada", "ben", "fatima"],
    },
    Room { name: "with Ada", kind: ChannelType::Direct, topic: "", people: &["ada"] },
];

/// What becomes of a line.
#[derive(Clone, Copy)]
pub(super) enum Twist {
    None,
    /// It is changed to this.
    Edited(&'static str),
    Deleted,
}

/// Something that somebody says.
pub(super) struct Line {
    pub(super) room: &'static str,
    pub(super) id: &'static str,
    pub(super) who: &'static str,
    pub(super) text: &'static str,
    pub(super) kind: MessageKind,
    /// The root of its thread.
    pub(super) under: Option<&'static str>,
    /// The line that it quotes.
    pub(super) answers: Option<&'static str>,
    pub(super) reactions: &'static [(&'static str, &'static [&'static str])],
    pub(super) twist: Twist,
}

const fn say(room: &'static str, id: &'static str, who: &'static str, text: &'static str) -> Line {
    Line {
        room,
        id,
        who,
        text,
        kind: MessageKind::Text,
        under: None,
        answers: None,
        reactions: &[],
        twist: Twist::None,
    }
}

impl Line {
    const fn under(self, root: &'static str) -> Self {
        Self { under: Some(root), ..self }
    }

    const fn answers(self, other: &'static str) -> Self {
        Self { answers: Some(other), ..self }
    }

    const fn kind(self, kind: MessageKind) -> Self {
        Self { kind, ..self }
    }

    const fn with(self, reactions: &'static [(&'static str, &'static [&'static str])]) -> Self {
        Self { reactions, ..self }
    }

    const fn then(self, twist: Twist) -> Self {
        Self { twist, ..self }
    }
}

/// Everything, in its order.
pub(super) fn lines() -> impl Iterator<Item = Line> {
    general().into_iter().chain(random()).chain(help()).chain(launch()).chain(direct())
}

fn general() -> Vec<Line> {
    vec![
        say("general", "g1", "demo", "Welcome to the demo workspace! Look around, everything here is live.")
            .with(&[("👋", &["ada", "ben", "chiara", "emi"]), ("🎉", &["dmitri", "greta"])]),
        say("general", "g2", "ada", "Good morning everyone ☀️"),
        say(
            "general",
            "g3",
            "ben",
            "Morning! The new search is on staging, @ada and @chiara please have a look.",
        )
        .with(&[("👀", &["ada", "chiara"])]),
        say("general", "g4", "chiara", "Found one thing: it treats “Zürich” and “Zurich” as two towns.")
            .under("g3"),
        say(
            "general",
            "g5",
            "ben",
            "Good catch. Folding accents for the index only, or for what we show too?",
        )
        .under("g3"),
        say("general", "g6", "chiara", "Index only. People want their names spelled right.")
            .under("g3")
            .with(&[("💯", &["ben", "emi", "ada"])]),
        say("general", "g7", "ada", "Agreed. And the empty query should list the newest, not nothing.")
            .under("g3"),
        say("general", "g8", "ben", "Both done, on staging in five minutes.")
            .under("g3")
            .with(&[("🚀", &["ada"])]),
        say("general", "g9", "dmitri", "Reminder: the office is closed on Friday."),
        say("general", "g10", "emi", "This Friday or the next?").answers("g9"),
        say("general", "g11", "dmitri", "This Friday, the 21st.")
            .answers("g10")
            .then(Twist::Edited("This Friday, the 24th. Sorry for the confusion!"))
            .with(&[("👍", &["emi", "fatima"])]),
        say("general", "g12", "greta", "My new phone number is 555 0100, no wait, wrong channel")
            .then(Twist::Deleted),
        say("general", "g13", "greta", "waves at everyone from the train").kind(MessageKind::Action),
        say("general", "g14", "fatima", "Where should we go for the team lunch?")
            .with(&[("🍕", &["ben", "greta"])]),
        say("general", "g15", "ben", "Pizza!").under("g14"),
        say("general", "g16", "greta", "Pizza 🍕").under("g14"),
        say("general", "g17", "emi", "The ramen place has a new menu…")
            .under("g14")
            .with(&[("🍜", &["ada", "chiara", "fatima"])]),
        say("general", "g18", "dmitri", "I am happy with either, as long as there is dessert.").under("g14"),
        say("general", "g19", "fatima", "Ramen it is, with three bowls against two slices. Pizza next time!")
            .under("g14")
            .with(&[("🎉", &["emi"]), ("😢", &["ben"])]),
        say(
            "general",
            "g20",
            "ada",
            "Notes from the planning are in the wiki. Thank you all for being so quick!",
        )
        .with(&[("❤️", &["demo", "ben", "greta", "dmitri"])]),
    ]
}

fn random() -> Vec<Line> {
    vec![
        say("random", "r1", "emi", "Today I learned that a group of flamingos is called a flamboyance."),
        say("random", "r2", "greta", "And a group of ferrets is a business 🦦")
            .with(&[("😂", &["emi", "ben", "ada"])]),
        say("random", "r3", "dmitri", "What is a group of backend developers?"),
        say("random", "r4", "chiara", "A pool, of at most 32.")
            .answers("r3")
            .with(&[("😂", &["ben", "dmitri", "greta", "demo"])]),
        say(
            "random",
            "r5",
            "fatima",
            "Does anybody want tomato plants? I have far too many on my balcony. 🍅",
        ),
        say("random", "r6", "ada", "Yes please, two!").under("r5"),
        say("random", "r7", "ben", "One for me, if it survives somebody who forgets to water.").under("r5"),
        say("random", "r8", "fatima", "I will bring them on Monday, with instructions, @ben 😉").under("r5"),
        say(
            "random",
            "r9",
            "greta",
            "Weather in Kiruna this morning: −18 °C, no wind, and the sky was pink.",
        ),
        say("random", "r10", "emi", "I need pictures!").answers("r9"),
        say("random", "r11", "ben", "Song of the day: anything by Fela Kuti, as always."),
        say("random", "r12", "dmitri", "Seconded."),
    ]
}

fn help() -> Vec<Line> {
    vec![
        say("help", "h1", "greta", "How do I get messages that I missed while my laptop was asleep?"),
        say("help", "h2", "ben", "Keep the cursor of the last event and subscribe again with it: `channelEvents(channelId: …, after: $cursor)`.")
            .under("h1")
            .with(&[("🙏", &["greta"])]),
        say("help", "h3", "greta", "And if I was away for a month?").under("h1"),
        say("help", "h4", "ben", "Then the server says StreamReset once, and you load the screen afresh.").under("h1"),
        say("help", "h5", "greta", "That was easier than I feared. Thank you!").under("h1"),
        say("help", "h6", "fatima", "Why do I get the same message back when I send it twice?"),
        say("help", "h7", "chiara", "Because the `clientMessageId` is the same, and that is a feature: retry as often as you like, it is one message.")
            .under("h6")
            .with(&[("💡", &["fatima", "emi"])]),
        say("help", "h8", "emi", "let total = rows.iter().filter(|row| row.is_open).count();").kind(MessageKind::Code),
        say("help", "h9", "emi", "Can this be shorter?"),
        say("help", "h10", "dmitri", "It is fine as it is. Short enough to read aloud.").answers("h9").with(&[("✅", &["emi"])]),
        say("help", "h11", "ada", "Is there a dark mode for the explorer?"),
        say("help", "h12", "demo", "Yes: the gear at the lower left, then Theme.").answers("h11"),
    ]
}

fn launch() -> Vec<Line> {
    vec![
        say("launch", "l1", "demo", "This channel is private: only the four of us see it."),
        say("launch", "l2", "ada", "Press kit is ready, three pictures are still missing."),
        say("launch", "l3", "fatima", "Pictures come tonight.").under("l2"),
        say("launch", "l4", "ben", "Load test: 2,000 people in one channel, nothing lost, nothing twice.")
            .with(&[("🚀", &["demo", "ada", "fatima"])]),
        say("launch", "l5", "ada", "Then let us do it on Tuesday. @demo, do you agree?"),
        say("launch", "l6", "demo", "Tuesday it is.")
            .answers("l5")
            .with(&[("🎉", &["ada", "ben", "fatima"])]),
    ]
}

fn direct() -> Vec<Line> {
    vec![
        say("with Ada", "d1", "ada", "Do you have a minute this afternoon?"),
        say("with Ada", "d2", "demo", "After three, any time."),
        say("with Ada", "d3", "ada", "Perfect, I will call you at half past three."),
        say("with Ada", "d4", "demo", "👍"),
    ]
}
