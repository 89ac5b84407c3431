// GraphQL over SSE with its reference client, in both modes, and the rules of the single connection by hand.
// https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
import { strict as assert } from 'node:assert';
import { createClient } from 'graphql-sse';
import { EVENTS, SEND, World, eventually, texts } from './support.mjs';

export default async function sse({ check, world }) {
  for (const singleConnection of [false, true]) {
    const mode = singleConnection ? 'single connection' : 'distinct connections';
    const client = (more) => createClient({ url: world.url, headers: () => world.headers, singleConnection, retryAttempts: 0, ...more });
    await check(`${mode}: queries, mutations and refused documents`, async () => {
      const ours = client();
      const one = async (payload) => {
        const items = ours.iterate(payload);
        const { value } = await items.next();
        assert.equal((await items.next()).done, true);
        return value;
      };
      assert.deepEqual(await one({ query: '{ viewer { user { id } } }' }), { data: { viewer: { user: { id: world.user } } } });
      const input = { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'by graphql-sse' };
      assert.equal((await one({ query: SEND, variables: { input } })).data.sendMessage.message.text, 'by graphql-sse');
      ours.dispose();
    });
    await check(`${mode}: a stream from a cursor on`, async () => {
      const ours = client();
      const after = await world.cursor();
      await world.send('before');
      const items = ours.iterate({ query: EVENTS, variables: { channelId: world.channel, after } });
      assert.deepEqual(await texts(items, 1), ['before']);
      await world.send('after');
      assert.deepEqual(await texts(items, 1), ['after']);
      await items.return();
      ours.dispose();
    });
    await check(`${mode}: several streams at once, each ended by itself`, async () => {
      const ours = client();
      const after = await world.cursor();
      const [one, two, three] = [1, 2, 3].map(() => ours.iterate({ query: EVENTS, variables: { channelId: world.channel, after } }));
      await Promise.all([one, two, three].map(async (items) => assert.equal((await items.next()).done, false)));
      await two.return();
      await world.send('to two of them');
      assert.deepEqual(await Promise.all([texts(one, 1), texts(three, 1)]), [['to two of them'], ['to two of them']]);
      await one.return();
      await world.send('to one of them');
      assert.deepEqual(await texts(three, 1), ['to one of them']);
      await three.return();
      ours.dispose();
    });
    await check(`${mode}: a forged token is told`, async () => {
      const ours = client({ headers: { authorization: 'Bearer forged' } });
      await assert.rejects(ours.iterate({ query: '{ __typename }' }).next(), (error) => error.response?.status === 401);
      ours.dispose();
    });
  }

  await check('single connection: a refused document is refused by its request', async () => {
    const ours = createClient({ url: world.url, headers: () => world.headers, singleConnection: true, retryAttempts: 0 });
    await assert.rejects(ours.iterate({ query: '{ missing }' }).next(), (error) => error.response.status === 400);
    ours.dispose();
  });
  await check('single connection: not lazy, and connected again after a lost connection', async () => {
    const connected = [];
    let controller;
    const ours = createClient({
      url: world.url,
      headers: () => world.headers,
      singleConnection: true,
      lazy: false,
      retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
      on: { connected: (again) => connected.push(again) },
      fetchFn: (url, init) => {
        if (init.method !== 'GET') return fetch(url, init);
        controller = new AbortController();
        return fetch(url, { ...init, signal: AbortSignal.any([init.signal, controller.signal]) });
      },
    });
    const after = await world.cursor();
    const items = ours.iterate({ query: EVENTS, variables: { channelId: world.channel, after } });
    await world.send('one');
    assert.deepEqual(await texts(items, 1), ['one']);
    controller.abort();
    await world.send('two');
    // The client sends the operation once more as it was, with its first cursor.
    assert.deepEqual(await texts(items, 2), ['one', 'two']);
    assert.ok(connected.length >= 2 && connected.at(-1));
    await items.return();
    ours.dispose();
  });

  const call = (method, stream, { path = '', accept, body, token = world.token } = {}) =>
    fetch(world.url + path, {
      method,
      headers: {
        ...(stream && { 'x-graphql-event-stream-token': stream }),
        ...(token && { authorization: `Bearer ${token}` }),
        ...(accept && { accept }),
        ...(body && { 'content-type': 'application/json' }),
      },
      body: body && JSON.stringify(body),
    });
  const statusOf = async (response) => (await response).status;
  const operation = (operationId, query = '{ __typename }') => ({ query, extensions: { operationId } });
  const events = { accept: 'text/event-stream' };
  await check('single connection: statuses of a reservation and its stream', async () => {
    const other = await World.make(new URL(world.url).origin);
    assert.equal(await statusOf(call('PUT', null, { token: null })), 401);
    assert.equal(await statusOf(call('PUT', null, { accept: 'text/html' })), 406);
    const reserved = await call('PUT', null, { accept: 'text/plain' });
    assert.equal(reserved.status, 201);
    assert.match(reserved.headers.get('content-type'), /^text\/plain/);
    const stream = await reserved.text();
    // Streaming to a reservation is fine; it is told on connecting.
    assert.equal(await statusOf(call('POST', stream, { body: operation('early') })), 202);
    assert.equal(await statusOf(call('GET', stream, { ...events, token: other.token })), 404);
    assert.equal(await statusOf(call('POST', stream, { body: operation('1'), token: other.token })), 404);
    assert.equal(await statusOf(call('DELETE', stream, { path: '?operationId=early', token: other.token })), 404);
    assert.equal(await statusOf(call('POST', stream, { body: operation('1'), token: null })), 401);
    const open = await call('GET', null, { ...events, path: `?token=${stream}`, token: null });
    assert.equal(open.status, 200);
    assert.match(open.headers.get('content-type'), /^text\/event-stream/);
    assert.equal(await statusOf(call('GET', stream, events)), 409);
    const reader = open.body.pipeThrough(new TextDecoderStream()).getReader();
    let told = '';
    while (!told.includes('event: complete')) told += (await reader.read()).value;
    assert.match(told, /event: next\ndata: \{"id":"early","payload":\{"data":\{"__typename":"Query"\}\}\}\n\nevent: complete\ndata: \{"id":"early"\}\n\n/);

    assert.equal(await statusOf(call('POST', stream, { body: { query: '{ __typename }' } })), 400);
    assert.equal(await statusOf(call('POST', stream, { body: operation('1', '{ missing }') })), 400);
    assert.equal(await statusOf(call('POST', stream, { body: operation('1'), accept: 'text/html' })), 406);
    const live = { ...operation('1', EVENTS), variables: { channelId: world.channel } };
    assert.equal(await statusOf(call('POST', stream, { body: live })), 202);
    assert.equal(await statusOf(call('POST', stream, { body: live })), 409);
    assert.equal(await statusOf(call('DELETE', stream)), 400);
    assert.equal(await statusOf(call('DELETE', stream, { path: '?operationId=1' })), 200);
    assert.equal(await statusOf(call('POST', stream, { body: live })), 202);
    assert.equal(await statusOf(call('PATCH', stream)), 405);
    await reader.cancel();
    await eventually('the stream ends with its client', async () => (await statusOf(call('DELETE', stream, { path: '?operationId=1' }))) === 404);
    assert.equal(await statusOf(call('GET', stream, events)), 404);
  });
}
