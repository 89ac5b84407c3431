//! What a message may contain, and how it reads as plain text.

use quikapp_entities::UserId;

use crate::{
    Result,
    error::Validation,
    messages::model::{Block, MessageKind},
};

/// Longest text of a message, and longest sum of its blocks' texts, in characters.
pub const TEXT_LIMIT: usize = 20_000;
/// Most blocks of a message.
pub const BLOCK_LIMIT: usize = 100;
/// Largest block of an unknown type, in bytes of JSON.
pub const OPAQUE_LIMIT: usize = 16_384;
/// All such blocks of a message together.
pub const OPAQUE_SUM_LIMIT: usize = 65_536;
/// Longest name of a language or of a block's type, in characters.
pub const NAME_LIMIT: usize = 50;

/// A block as a client sends it.
#[derive(Debug, Clone, PartialEq)]
pub enum NewBlock {
    /// Words.
    Paragraph(String),
    /// A person addressed.
    Mention(UserId),
    /// Source code.
    Code {
        /// The language's name.
        language: Option<String>,
        /// The code.
        code: String,
    },
    /// Of a type that this version does not know.
    Opaque {
        /// The type's name.
        name: String,
        /// Everything else: a JSON object.
        data: serde_json::Value,
    },
}

/// Text and blocks that passed the rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The words; made from the blocks where the client gave none.
    pub text: String,
    /// Formatted content.
    pub blocks: Vec<Block>,
}

/// Checks text and blocks of a message of `kind`; `prefix` stands before the names of the fields (`input.`).
pub fn check(
    prefix: &str,
    kind: MessageKind,
    text: Option<String>,
    blocks: Vec<NewBlock>,
    validation: &mut Validation,
) -> Result<Content> {
    let field = |name: &str| format!("{prefix}{name}");
    validation.check(
        kind != MessageKind::System,
        &field("kind"),
        "SYSTEM messages are written by the server only",
    );
    validation.check(
        blocks.len() <= BLOCK_LIMIT,
        &field("blocks"),
        format!("must have at most {BLOCK_LIMIT} blocks"),
    );
    let mut length = 0;
    let mut opaque = 0;
    for (index, block) in blocks.iter().enumerate().take(BLOCK_LIMIT) {
        match block {
            NewBlock::Paragraph(text) => length += text.chars().count(),
            NewBlock::Mention(_) => {}
            NewBlock::Code { language, code } => {
                length += code.chars().count();
                if let Some(language) = language {
                    validation.length(
                        &field(&format!("blocks.{index}.code.language")),
                        language,
                        1,
                        NAME_LIMIT,
                    );
                }
            }
            NewBlock::Opaque { name, data } => {
                validation.length(&field(&format!("blocks.{index}.opaque.type")), name, 1, NAME_LIMIT);
                let at = field(&format!("blocks.{index}.opaque.data"));
                validation.check(data.is_object(), &at, "must be a JSON object");
                let bytes = data.to_string().len();
                opaque += bytes;
                validation.check(
                    bytes <= OPAQUE_LIMIT,
                    &at,
                    format!("must have at most {OPAQUE_LIMIT} bytes"),
                );
            }
        }
    }
    validation.check(
        length <= TEXT_LIMIT,
        &field("blocks"),
        format!("must have at most {TEXT_LIMIT} characters in all"),
    );
    validation.check(
        opaque <= OPAQUE_SUM_LIMIT,
        &field("blocks"),
        format!("must have at most {OPAQUE_SUM_LIMIT} bytes of opaque data in all"),
    );
    let blocks: Vec<Block> = blocks.into_iter().map(Block::from).collect();
    let text = text.unwrap_or_else(|| plain_text(&blocks));
    validation.length(&field("text"), &text, 0, TEXT_LIMIT);
    let may_be_empty =
        matches!(kind, MessageKind::Image | MessageKind::Video | MessageKind::Audio | MessageKind::File);
    validation.check(
        may_be_empty || !blocks.is_empty() || !text.trim().is_empty(),
        &field("text"),
        "must not be empty",
    );
    validation.finish()?;
    Ok(Content { text, blocks })
}

/// The words of blocks, for clients that show plain text and for search.
fn plain_text(blocks: &[Block]) -> String {
    let parts: Vec<String> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Paragraph { text } => Some(text.clone()),
            Block::Mention { user } => Some(format!("<@{user}>")),
            Block::Code { code, .. } => Some(code.clone()),
            Block::Opaque { .. } => None,
        })
        .collect();
    parts.join("\n")
}

impl From<NewBlock> for Block {
    fn from(block: NewBlock) -> Self {
        match block {
            NewBlock::Paragraph(text) => Self::Paragraph { text },
            NewBlock::Mention(user) => Self::Mention { user },
            NewBlock::Code { language, code } => Self::Code { language, code },
            NewBlock::Opaque { name, data } => Self::Opaque { name, data },
        }
    }
}
