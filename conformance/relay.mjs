// Relay: its compiler takes an application written against schema.graphql, and its runtime runs what comes out.
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createClient } from 'graphql-ws';
import compiler from 'relay-compiler';
import runtime from 'relay-runtime';
import WebSocket from 'ws';
import { eventually } from './support.mjs';

const SCHEMA = fileURLToPath(new URL('../schema.graphql', import.meta.url));
const { Environment, Network, Observable, RecordSource, Store, commitMutation, fetchQuery, requestSubscription } = runtime;

const APPLICATION = `import { graphql } from 'react-relay';
graphql\`query appQuery($id: ID!) {
  channel(id: $id) { id ...appMessages @relay(mask: false) }
}\`;
graphql\`fragment appMessages on Channel {
  messages(last: 50) @connection(key: "app_messages") {
    __id
    edges { node { id text author { id displayName } reactionGroups { emoji } } }
    pageInfo { hasPreviousPage startCursor }
    syncCursor
  }
}\`;
graphql\`fragment appPages on Channel
  @refetchable(queryName: "appPagesQuery")
  @argumentDefinitions(last: { type: "Int", defaultValue: 50 }, before: { type: "String" }) {
  messages(last: $last, before: $before) @connection(key: "appPages_messages") {
    edges { node { id } }
  }
}\`;
graphql\`mutation appSendMutation($input: SendMessageInput!, $connections: [ID!]!) {
  sendMessage(input: $input) {
    message @appendNode(connections: $connections, edgeTypeName: "MessageEdge") { id text author { id displayName } }
  }
}\`;
graphql\`subscription appEventsSubscription($id: ID!, $after: EventCursor) {
  channelEvents(channelId: $id, after: $after) {
    cursor
    event { __typename ... on MessageCreated { message { id text } } ... on StreamReset { reason } }
  }
}\`;
`;

export default async function relay({ check, world }) {
  const folder = mkdtempSync(join(tmpdir(), 'quikapp-relay-'));
  try {
    await run(folder, check, world);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function run(folder, check, world) {
  await check('relay-compiler takes an application', async () => {
    mkdirSync(join(folder, 'src'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'schema.graphql'), readFileSync(SCHEMA));
    const config = { src: './src', schema: './schema.graphql', language: 'javascript', eagerEsModules: true };
    writeFileSync(join(folder, 'relay.config.json'), JSON.stringify(config));
    writeFileSync(join(folder, 'src', 'app.js'), APPLICATION);
    execFileSync(compiler, [join(folder, 'relay.config.json')], { cwd: folder, stdio: 'pipe' });
  });
  const artifact = async (name) => (await import(pathToFileURL(join(folder, 'src', '__generated__', `${name}.graphql.js`)))).default;

  const socket = createClient({ url: world.socketUrl, webSocketImpl: WebSocket, connectionParams: { Authorization: `Bearer ${world.token}` } });
  const network = Network.create(
    async ({ text }, variables) => {
      const headers = { accept: 'application/graphql-response+json, application/json;q=0.9', 'content-type': 'application/json', ...world.headers };
      return (await fetch(world.url, { method: 'POST', headers, body: JSON.stringify({ query: text, variables }) })).json();
    },
    ({ text, name }, variables) => Observable.create((sink) => socket.subscribe({ operationName: name, query: text, variables }, sink)),
  );
  const environment = new Environment({ network, store: new Store(new RecordSource()) });
  let connection;
  let after;
  await check('a query with a connection', async () => {
    await world.send('for Relay');
    const { channel } = await fetchQuery(environment, await artifact('appQuery'), { id: world.channel }).toPromise();
    assert.equal(channel.messages.edges.at(-1).node.text, 'for Relay');
    connection = channel.messages.__id;
    after = channel.messages.syncCursor;
  });
  await check('a mutation that appends to the connection', async () => {
    const mutation = await artifact('appSendMutation');
    const input = { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'by Relay' };
    await new Promise((resolve, reject) => {
      commitMutation(environment, {
        mutation,
        variables: { input, connections: [connection] },
        onCompleted: (_, errors) => (errors ? reject(errors) : resolve()),
        onError: reject,
      });
    });
    const edges = environment.getStore().getSource().get(connection).edges.__refs;
    assert.ok(edges.length >= 2);
  });
  await check('a subscription after the connection', async () => {
    const seen = [];
    let failed;
    const { dispose } = requestSubscription(environment, {
      subscription: await artifact('appEventsSubscription'),
      variables: { id: world.channel, after },
      onNext: ({ channelEvents: { event } }) => event.message && seen.push(event.message.text),
      onError: (error) => (failed = error),
    });
    await eventually('the message', () => {
      if (failed) throw failed;
      return seen.length === 1;
    });
    await world.send('live for Relay');
    await eventually('the live message', () => seen.length === 2);
    assert.deepEqual(seen, ['by Relay', 'live for Relay']);
    dispose();
  });
  await socket.dispose();
}
