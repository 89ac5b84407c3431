// urql: queries by its fetchExchange, subscriptions by itself, by graphql-ws and by graphql-sse.
import { strict as assert } from 'node:assert';
import { Client, cacheExchange, fetchExchange, gql, subscriptionExchange } from '@urql/core';
import { createClient as sseClient } from 'graphql-sse';
import { createClient as wsClient } from 'graphql-ws';
import { pipe, subscribe } from 'wonka';
import WebSocket from 'ws';
import { EVENTS, SEND, eventually, text } from './support.mjs';

export default async function urql({ check, world }) {
  const ws = wsClient({ url: world.socketUrl, webSocketImpl: WebSocket, connectionParams: { Authorization: `Bearer ${world.token}` } });
  const sse = sseClient({ url: world.url, headers: () => world.headers });
  const single = sseClient({ url: world.url, headers: () => world.headers, singleConnection: true });
  const over = (client) => subscriptionExchange({
    forwardSubscription: (request) => ({ subscribe: (sink) => ({ unsubscribe: client.subscribe({ ...request, query: request.query ?? '' }, sink) }) }),
  });
  const ways = { 'fetchExchange': { fetchSubscriptions: true, exchanges: [] }, 'graphql-ws': { exchanges: [over(ws)] }, 'graphql-sse': { exchanges: [over(sse)] }, 'graphql-sse, single connection': { exchanges: [over(single)] } };
  for (const [name, { fetchSubscriptions, exchanges }] of Object.entries(ways)) {
    const client = new Client({ url: world.url, preferGetMethod: false, fetchOptions: { headers: world.headers }, fetchSubscriptions, exchanges: [cacheExchange, fetchExchange, ...exchanges] });
    await check(`${name}: queries and mutations`, async () => {
      const { data, error } = await client.query(gql`{ viewer { user { id } } }`, {}).toPromise();
      assert.equal(error, undefined);
      assert.equal(data.viewer.user.id, world.user);
      const input = { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'by urql' };
      assert.equal((await client.mutation(gql(SEND), { input }).toPromise()).data.sendMessage.message.text, 'by urql');
      assert.match((await client.query('{ missing }', {}).toPromise()).error.message, /missing/);
    });
    await check(`${name}: a stream from a cursor on`, async () => {
      const after = await world.cursor();
      await world.send('before');
      const items = [];
      const { unsubscribe } = pipe(client.subscription(gql(EVENTS), { channelId: world.channel, after }), subscribe((item) => items.push(item)));
      const heard = (wanted) => eventually(wanted, () => {
        const failed = items.find((item) => item.error);
        if (failed) throw failed.error;
        return items.some((item) => text(item) === wanted);
      });
      await heard('before');
      await world.send('after');
      await heard('after');
      assert.deepEqual(items.map(text).filter(Boolean), ['before', 'after']);
      unsubscribe();
    });
  }
  await check('queries by GET', async () => {
    const client = new Client({ url: world.url, preferGetMethod: 'force', fetchOptions: { headers: world.headers }, exchanges: [fetchExchange] });
    const { data, error } = await client.query(gql`query ($id: ID!) { channel(id: $id) { id } }`, { id: world.channel }).toPromise();
    assert.equal(error, undefined);
    assert.equal(data.channel.id, world.channel);
  });
  await ws.dispose();
  sse.dispose();
  single.dispose();
}
