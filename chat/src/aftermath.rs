//! What follows a committed change: streams are told, and the channel's timeline gets a line.

use futures_util::{StreamExt, stream};
use quikapp_entities::{ChannelId, MessageId, UserId, WorkspaceId};
use uuid::Uuid;

use crate::{
    Chat, Error, Result,
    live::{Control, viewer::workspace_log},
    messages::model::{ChannelKey, SystemEvent},
};

/// How many timelines are written to at once.
const AT_ONCE: usize = 32;

/// Runs `work` to its end even if the caller goes away, so that no change is committed without what follows it.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change did not run to its end");
        Err(Error::Internal)
    })
}

/// A line for the timeline of a channel.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) key: ChannelKey,
    /// Who caused it.
    pub(crate) author: UserId,
    pub(crate) event: SystemEvent,
}

impl Chat {
    /// Tells all streams that what `user` may do in the channel, or in the whole workspace, has changed.
    pub(crate) fn access_changed(&self, user: UserId, workspace: WorkspaceId, channel: Option<ChannelId>) {
        self.hub.announce(Control::AccessChanged { user, workspace, channel });
    }

    /// Writes lines into timelines. The change itself is committed, so a failure is logged and not told to the caller.
    pub(crate) async fn write_lines(&self, lines: Vec<Line>) {
        stream::iter(lines).for_each_concurrent(AT_ONCE, |line| self.write_line(line)).await;
    }

    /// Tells those who follow the workspace that a part of it, its own fields or somebody in it, is not as it was. The change
    /// itself is committed, so a failure is logged and not told to the caller.
    pub(crate) async fn tell_workspaces(
        &self,
        workspaces: &[WorkspaceId],
        author: UserId,
        event: &SystemEvent,
        part: Uuid,
    ) {
        let tell = |workspace: &WorkspaceId| {
            let key = workspace_log(*workspace);
            // One entry for each part, which moves up each time: who was away learns of it once.
            let id = MessageId(Uuid::from_u128(workspace.0.as_u128() ^ part.as_u128().rotate_left(64)));
            async move {
                for attempt in 0..2 {
                    match self.log.note(key, author, event.clone(), id).await {
                        Ok(()) => return,
                        Err(error) if attempt > 0 => {
                            tracing::warn!(workspace = %key.workspace, %error, "a change of a workspace is not told");
                        }
                        Err(_) => {}
                    }
                }
            }
        };
        stream::iter(workspaces).for_each_concurrent(AT_ONCE, tell).await;
    }

    async fn write_line(&self, line: Line) {
        let Line { key, author, event } = line;
        let id = MessageId(self.env.uuid());
        if self.log.system(key, author, event.clone(), id).await.is_ok() {
            return;
        }
        if let Err(error) = self.log.system(key, author, event, id).await {
            tracing::warn!(channel = %key.channel, %error, "a channel's timeline misses a line");
        }
    }
}
