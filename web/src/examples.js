/** Placeholders in the variables; the page puts real ids in after a sign-in. */
export const CHANNEL = 'CHANNEL_ID';
export const USER = 'USER_ID';

const json = (value) => JSON.stringify(value, null, 2);

/** A message needs an id of the client's own. Not randomUUID: that is missing on plain-HTTP addresses other than localhost. */
const clientMessageId = () => `graphiql-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;

const signIn = `# The form at the top does this, and keeps the
# token for all tabs. Here by hand: copy
# accessToken into the field "Access token".
mutation SignIn($email: String!, $password: String!) {
  signIn(email: $email, password: $password) {
    accessToken
    refreshToken
    expiresAt
  }
}
`;

const viewerAndChannels = `# Who am I, and which channels am I in?
query ViewerAndChannels {
  viewer {
    user {
      id
      displayName
    }
    channels(first: 20) {
      nodes {
        channel {
          id
          displayName
          memberCount
          lastMessage {
            text
            author {
              displayName
            }
          }
        }
      }
    }
  }
}
`;

const channelHistory = `# The newest 50 messages, oldest first. The page
# before: messages(last: 50, before: startCursor)
query ChannelHistory($channelId: ID!) {
  channel(id: $channelId) {
    displayName
    messages(last: 50) {
      nodes {
        id
        seq
        text
        createdAt
        author {
          displayName
        }
        reactionGroups {
          emoji
          count
          viewerHasReacted
        }
        thread {
          replyCount
        }
      }
      pageInfo {
        hasPreviousPage
        startCursor
      }
    }
  }
}
`;

const sendMessage = `# clientMessageId makes a retry safe: run this
# twice, and the second answer is the same message
# with deduplicated: true. Change it for a new one.
mutation SendMessage(
  $channelId: ID!
  $clientMessageId: String!
  $text: String!
) {
  sendMessage(
    input: {
      channelId: $channelId
      clientMessageId: $clientMessageId
      text: $text
    }
  ) {
    message {
      id
      seq
      text
    }
    deduplicated
  }
}
`;

const liveMessages = `# New messages of one channel, as they come. Run
# it, then send one from another browser tab. The
# pane on the right shows the newest item.
subscription LiveMessages($channelId: ID!) {
  messageAdded(channelId: $channelId) {
    id
    text
    author {
      displayName
    }
    createdAt
  }
}
`;

const liveEvents = `# Everything durable in one channel, in order. To
# resume without a gap, add after: <last cursor>.
subscription LiveEvents($channelId: ID!) {
  channelEvents(channelId: $channelId) {
    cursor
    seq
    occurredAt
    event {
      __typename
      ... on MessageCreated {
        message {
          id
          text
        }
      }
      ... on MessageUpdated {
        changed
        message {
          id
          text
        }
      }
      ... on MessageDeleted {
        message {
          id
        }
      }
    }
  }
}
`;

const typingAndPresence = `# Short-lived signals: no cursor, no replay. The
# run button asks which of these to run. Watch in
# one browser tab, act in another.
subscription Typing($channelId: ID!) {
  typingChanged(channelId: $channelId) {
    users {
      displayName
    }
    expiresAt
  }
}

mutation StartTyping($channelId: ID!) {
  setTyping(channelId: $channelId, isTyping: true) {
    expiresAt
  }
}

subscription PresenceOf($userIds: [ID!]!) {
  presenceChanged(userIds: $userIds) {
    userId
    status
    lastSeenAt
  }
}

mutation GoAway {
  setPresence(status: AWAY) {
    presence {
      status
    }
  }
}
`;

/** GraphiQL titles a tab after its operation. */
export const examples = [
  { query: signIn, variables: json({ email: 'you@example.com', password: '' }) },
  { query: viewerAndChannels, variables: '' },
  { query: channelHistory, variables: json({ channelId: CHANNEL }) },
  {
    query: sendMessage,
    variables: json({ channelId: CHANNEL, clientMessageId: clientMessageId(), text: 'Hello from GraphiQL' }),
  },
  { query: liveMessages, variables: json({ channelId: CHANNEL }) },
  { query: liveEvents, variables: json({ channelId: CHANNEL }) },
  { query: typingAndPresence, variables: json({ channelId: CHANNEL, userIds: [USER] }) },
];
