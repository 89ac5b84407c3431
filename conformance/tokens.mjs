// Access tokens that end while streams go on, on a server whose tokens live for ten seconds.
import { strict as assert } from 'node:assert';
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { createClient as sseClient } from 'graphql-sse';
import { createClient as wsClient } from 'graphql-ws';
import WebSocket from 'ws';
import { EVENTS, World, eventually, text } from './support.mjs';

const REFRESH = 'mutation ($token: String!) { refreshSession(refreshToken: $token) { accessToken refreshToken expiresAt } }';

export default async function tokens({ check, brief }) {
  // Each has its own session, so that the refresh of one is none of the other's.
  const follow = async (name, open) => {
    await check(`${name}: goes on over the end of its token`, async () => {
      const world = await World.make(brief);
      const expires = world.expiresAt;
      const seen = [];
      let failed;
      const after = await world.cursor();
      const variables = { channelId: world.channel, after };
      const stream = await open(world, variables, (item) => text(item) && seen.push(text(item)), (error) => (failed = error));
      const sent = [];
      let refreshed = false;
      while (Date.now() < expires + 3_000) {
        if (failed) throw failed;
        const one = `message ${sent.length}`;
        await world.send(one);
        sent.push(one);
        if (!refreshed && (stream.announced?.() ?? Date.now() > expires - 5_000)) {
          await stream.refresh(world);
          refreshed = true;
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      await eventually('the last message', () => seen.length >= sent.length);
      assert.deepEqual(seen, sent);
      await stream.close();
    });
  };
  const byHttp = async (world) => {
    const { refreshSession } = await world.anonymous(REFRESH, { token: world.refreshToken });
    world.token = refreshSession.accessToken;
  };
  await Promise.all([
    follow('graphql-ws, refreshed over the socket when the server says so', async (world, variables, next, error) => {
      let announced = false;
      const client = wsClient({
        url: world.socketUrl,
        webSocketImpl: WebSocket,
        retryAttempts: 0,
        connectionParams: { Authorization: `Bearer ${world.token}` },
        on: { ping: (received, payload) => (announced ||= received && payload?.type === 'TOKEN_EXPIRING') },
      });
      client.subscribe({ query: EVENTS, variables }, { next, error, complete: () => error(new Error('complete')) });
      return {
        announced: () => announced,
        refresh: async (world) => {
          const { value } = await client.iterate({ query: REFRESH, variables: { token: world.refreshToken } }).next();
          world.token = value.data.refreshSession.accessToken;
        },
        close: () => client.dispose(),
      };
    }),
    ...[false, true].map((singleConnection) =>
      follow(`graphql-sse, ${singleConnection ? 'single connection' : 'distinct connections'}`, (world, variables, next, error) => {
        const client = sseClient({ url: world.url, headers: () => world.headers, singleConnection, retryAttempts: 0 });
        client.subscribe({ query: EVENTS, variables }, { next, error, complete: () => error(new Error('complete')) });
        return { refresh: byHttp, close: () => client.dispose() };
      }),
    ),
    follow('Apollo Client, multipart subscriptions', (world, variables, next, error) => {
      const link = new HttpLink({ uri: world.url, fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...world.headers } }) });
      const client = new ApolloClient({ link, cache: new InMemoryCache() });
      const subscription = client.subscribe({ query: gql(EVENTS), variables, fetchPolicy: 'no-cache' }).subscribe({
        next: (item) => (item.error ? error(item.error) : next(item)),
        error,
        complete: () => error(new Error('complete')),
      });
      return { refresh: byHttp, close: () => subscription.unsubscribe() };
    }),
  ]);
}
