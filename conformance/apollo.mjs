// Apollo Client: queries and multipart subscriptions by its HttpLink, and subscriptions over graphql-ws.
import { strict as assert } from 'node:assert';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { EVENTS, SEND, eventually, text } from './support.mjs';

export default async function apollo({ check, world }) {
  // GraphQLWsLink looks for it; Node has it from version 22 on.
  globalThis.WebSocket ??= WebSocket;
  const http = new HttpLink({ uri: world.url, headers: world.headers });
  const socket = createClient({ url: world.socketUrl, webSocketImpl: WebSocket, connectionParams: { Authorization: `Bearer ${world.token}` } });
  const links = { 'multipart subscriptions': http, 'graphql-ws': new GraphQLWsLink(socket) };
  for (const [name, link] of Object.entries(links)) {
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    await check(`${name}: a query, into the cache and out of it`, async () => {
      const query = gql`query ($id: ID!) { channel(id: $id) { id name messages(last: 5) { nodes { id text author { id displayName } } pageInfo { hasPreviousPage startCursor } } } }`;
      const { data } = await client.query({ query, variables: { id: world.channel } });
      assert.equal(data.channel.id, world.channel);
      assert.deepEqual(client.readQuery({ query, variables: { id: world.channel } }), data);
    });
    await check(`${name}: a mutation`, async () => {
      const input = { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'by Apollo' };
      const { data } = await client.mutate({ mutation: gql(SEND), variables: { input } });
      assert.equal(data.sendMessage.message.text, 'by Apollo');
    });
    await check(`${name}: a refused document is an error`, async () => {
      await assert.rejects(client.query({ query: gql`{ missing }`, fetchPolicy: 'no-cache' }), /missing/);
    });
    await check(`${name}: a stream from a cursor on`, async () => {
      const after = await world.cursor();
      await world.send('before');
      const items = [];
      let failed;
      const subscription = client
        .subscribe({ query: gql(EVENTS), variables: { channelId: world.channel, after }, fetchPolicy: 'no-cache' })
        .subscribe({ next: (item) => items.push(item), error: (error) => (failed = error) });
      const heard = (wanted) => eventually(wanted, () => {
        if (failed ?? items.find((item) => item.error)) throw failed ?? items.find((item) => item.error).error;
        return items.some((item) => text(item) === wanted);
      });
      await heard('before');
      await world.send('after');
      await heard('after');
      // Longer than the server is silent without a sign of life.
      await new Promise((resolve) => setTimeout(resolve, 6_000));
      await world.send('later');
      await heard('later');
      assert.deepEqual(items.map(text).filter(Boolean), ['before', 'after', 'later']);
      subscription.unsubscribe();
    });
    await check(`${name}: a refused subscription is an error`, async () => {
      const told = await new Promise((resolve) => {
        client.subscribe({ query: gql(EVENTS), variables: { channelId: 'channel_00000000000000000000000000' } }).subscribe({ next: resolve, error: (error) => resolve({ error }) });
      });
      assert.equal(told.error.errors[0].extensions.code, 'NOT_FOUND');
    });
  }
  await check('a bad token is an error with a status', async () => {
    const link = ApolloLink.from([new HttpLink({ uri: world.url, headers: { authorization: 'Bearer forged' } })]);
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    await assert.rejects(client.query({ query: gql`{ viewer { email } }` }), (error) => error.statusCode === 401 || error.errors?.[0].extensions.code === 'UNAUTHENTICATED');
  });
  await socket.dispose();
}
