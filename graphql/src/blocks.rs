//! Formatted content.

use async_graphql::{ComplexObject, Context, ID, InputObject, OneofObject, SimpleObject, Union};
use quikapp_chat::{
    entities::UserId,
    messages::{Block, NewBlock},
};

use crate::{
    budget::{LongJson, LongText},
    context::ContextExt,
    error::Result,
    ids,
    scalars::JSON,
    users::User,
};

/// A piece of formatted content.
#[derive(Clone, Union)]
pub enum MessageBlock {
    /// Words.
    Paragraph(ParagraphBlock),
    /// A person addressed.
    Mention(MentionBlock),
    /// Source code.
    Code(CodeBlock),
    /// Of a type that this version does not know.
    Opaque(OpaqueBlock),
}

/// Words.
#[derive(Clone, SimpleObject)]
pub struct ParagraphBlock {
    /// The words.
    text: LongText,
}

/// A person addressed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct MentionBlock {
    /// The person's id.
    user_id: ID,
    #[graphql(skip)]
    user: UserId,
}

#[ComplexObject]
impl MentionBlock {
    /// The person; null for somebody whom the message did not reach.
    async fn user(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        async { Ok(ctx.loaders()?.acquaintance(self.user).await?.map(User::from)) }.await.transpose()
    }
}

/// Source code.
#[derive(Clone, SimpleObject)]
pub struct CodeBlock {
    /// The language's name, as the author gave it.
    language: Option<String>,
    /// The code, unchanged.
    code: LongText,
}

/// A block of a type that this version does not know, kept as it came.
#[derive(Clone, SimpleObject)]
pub struct OpaqueBlock {
    /// The type's name.
    #[graphql(name = "type")]
    kind: String,
    /// Everything else.
    data: LongJson,
}

impl From<Block> for MessageBlock {
    fn from(block: Block) -> Self {
        match block {
            Block::Paragraph { text } => Self::Paragraph(ParagraphBlock { text: LongText::Piece(text) }),
            Block::Mention { user } => Self::Mention(MentionBlock { user_id: ids::id(user), user }),
            Block::Code { language, code } => Self::Code(CodeBlock { language, code: LongText::Piece(code) }),
            Block::Opaque { name, data } => {
                Self::Opaque(OpaqueBlock { kind: name, data: LongJson(JSON(data)) })
            }
        }
    }
}

/// A piece of formatted content: exactly one of the fields.
#[derive(OneofObject)]
pub enum BlockInput {
    /// Words.
    Paragraph(String),
    /// The id of a person to address.
    Mention(ID),
    /// Source code.
    Code(CodeBlockInput),
    /// Content of a type that the server does not know, kept as it is for clients that do.
    Opaque(OpaqueBlockInput),
}

/// Source code.
#[derive(InputObject)]
pub struct CodeBlockInput {
    /// The language's name, up to 50 characters.
    language: Option<String>,
    /// The code.
    code: String,
}

/// Content of a type of your own.
#[derive(InputObject)]
pub struct OpaqueBlockInput {
    /// The type's name, up to 50 characters.
    #[graphql(name = "type")]
    kind: String,
    /// A JSON object of up to 16 kB.
    data: JSON,
}

impl BlockInput {
    pub(crate) fn read_all(blocks: Vec<Self>, field: &str) -> Result<Vec<NewBlock>> {
        blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| {
                Ok(match block {
                    Self::Paragraph(text) => NewBlock::Paragraph(text),
                    Self::Mention(id) => {
                        NewBlock::Mention(ids::parse(&id, &format!("{field}.{index}.mention"))?)
                    }
                    Self::Code(CodeBlockInput { language, code }) => NewBlock::Code { language, code },
                    Self::Opaque(OpaqueBlockInput { kind, data }) => {
                        NewBlock::Opaque { name: kind, data: data.0 }
                    }
                })
            })
            .collect()
    }
}
