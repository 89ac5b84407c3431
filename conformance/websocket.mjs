// graphql-transport-ws: its rules and close codes by hand, then the reference client.
// https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
import { strict as assert } from 'node:assert';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { EVENTS, SEND, text, texts, within } from './support.mjs';

const PROTOCOL = 'graphql-transport-ws';

/** A socket that says what it is told. */
class Raw {
  #heard = [];
  #waiting = [];

  constructor(world, protocols = PROTOCOL) {
    this.socket = new WebSocket(world.socketUrl, protocols);
    this.closed = new Promise((resolve) => this.socket.on('close', (code, reason) => resolve({ code, reason: String(reason) })));
    this.opened = new Promise((resolve, reject) => this.socket.on('open', resolve).on('error', reject));
    this.socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      const waiter = this.#waiting.shift();
      if (waiter) waiter(message);
      else this.#heard.push(message);
    });
  }

  async say(...messages) {
    await this.opened;
    for (const message of messages) this.socket.send(typeof message === 'object' && !Buffer.isBuffer(message) ? JSON.stringify(message) : message);
    return this;
  }

  hear() {
    if (this.#heard.length) return Promise.resolve(this.#heard.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), 'a message');
  }

  async expect(...messages) {
    for (const message of messages) assert.deepEqual(await this.hear(), message);
  }

  get unread() {
    return this.#heard;
  }
}

const subscribe = (id, query, more = {}) => ({ type: 'subscribe', id, payload: { query, ...more } });
const FOREVER = 'subscription ($id: ID!) { channelEvents(channelId: $id) { cursor } }';

export default async function websocket({ check, world }) {
  const init = { type: 'connection_init', payload: { Authorization: `Bearer ${world.token}` } };
  const forever = (id) => subscribe(id, FOREVER, { variables: { id: world.channel } });
  const acknowledged = async () => {
    const raw = await new Raw(world).say(init);
    await raw.expect({ type: 'connection_ack' });
    return raw;
  };
  const closes = async (raw, code) => assert.equal((await within(raw.closed, `close ${code}`)).code, code);

  await check('the subprotocol is chosen among several', async () => {
    const raw = new Raw(world, ['graphql-ws', PROTOCOL]);
    await raw.opened;
    assert.equal(raw.socket.protocol, PROTOCOL);
    raw.socket.terminate();
  });
  for (const protocols of [[], ['graphql-ws']]) {
    await check(`4406 for the subprotocols [${protocols}]`, () => closes(new Raw(world, protocols), 4406));
  }
  const invalid = {
    'no JSON': 'hello',
    'an array': '[]',
    'null': 'null',
    'a binary frame': Buffer.from('{"type":"ping"}'),
    'an unknown type': { type: 'start' },
    'a message of servers': { type: 'connection_ack' },
    'no type': { id: '1' },
    'subscribe without id': { type: 'subscribe', payload: { query: '{ __typename }' } },
    'an empty id': subscribe('', '{ __typename }'),
    'a number as id': subscribe(1, '{ __typename }'),
    'subscribe without payload': { type: 'subscribe', id: '1' },
    'subscribe without query': { type: 'subscribe', id: '1', payload: {} },
    'variables that are a list': subscribe('1', '{ __typename }', { variables: [] }),
    'operationName that is a number': subscribe('1', '{ __typename }', { operationName: 1 }),
    'complete without id': { type: 'complete' },
    'a ping with text': { type: 'ping', payload: 'x' },
    'a pong with a list': { type: 'pong', payload: [] },
  };
  for (const [name, message] of Object.entries(invalid)) {
    await check(`4400 for ${name}`, async () => closes(await (await acknowledged()).say(message), 4400));
  }
  await check('4401 for subscribe before connection_init', async () => closes(await new Raw(world).say(forever('1')), 4401));
  await check('4401 for subscribe before the acknowledgement, unless that is faster', async () => {
    const raw = await new Raw(world).say(init, forever('1'));
    const first = await Promise.race([raw.closed, raw.hear()]);
    assert.ok(first.code === 4401 || first.type === 'connection_ack', JSON.stringify(first));
    raw.socket.terminate();
  });
  await check('4403 for a forged token', async () => closes(await new Raw(world).say({ type: 'connection_init', payload: { Authorization: 'Bearer forged' } }), 4403));
  await check('4408 without connection_init', async () => closes(new Raw(world), 4408));
  await check('4409 for an id that is in use', async () => closes(await (await acknowledged()).say(forever('1'), forever('1')), 4409));
  await check('4409 also while the first is being opened', async () => closes(await (await acknowledged()).say(forever('1'), subscribe('1', '{ __typename }')), 4409));
  await check('4429 for a second connection_init', async () => closes(await (await acknowledged()).say(init), 4429));
  await check('4429 for a second one before the acknowledgement', async () => closes(await new Raw(world).say(init, init), 4429));

  await check('connection_init needs no payload', async () => {
    const raw = await new Raw(world).say({ type: 'connection_init' });
    await raw.expect({ type: 'connection_ack' });
    await raw.say(subscribe('a', '{ viewer { email } }'));
    await raw.expect({ type: 'next', id: 'a', payload: { data: { viewer: null } } }, { type: 'complete', id: 'a' });
    raw.socket.close();
  });
  await check('ping is answered with its payload, at any time', async () => {
    const raw = await new Raw(world).say({ type: 'ping' }, { type: 'ping', payload: { n: [1] } });
    await raw.expect({ type: 'pong' }, { type: 'pong', payload: { n: [1] } });
    await raw.say({ type: 'pong' }, { type: 'pong', payload: { unasked: true } }, init, { type: 'ping' });
    const two = [await raw.hear(), await raw.hear()].map(({ type }) => type).sort();
    assert.deepEqual(two, ['connection_ack', 'pong']);
    raw.socket.close();
  });
  await check('a query is next and complete', async () => {
    const raw = await (await acknowledged()).say(subscribe('q', 'query A { __typename } query B { viewer { user { id } } }', { operationName: 'B', extensions: {} }));
    await raw.expect({ type: 'next', id: 'q', payload: { data: { viewer: { user: { id: world.user } } } } }, { type: 'complete', id: 'q' });
    // The id is free again.
    await raw.say(subscribe('q', '{ __typename }'));
    await raw.expect({ type: 'next', id: 'q', payload: { data: { __typename: 'Query' } } }, { type: 'complete', id: 'q' });
    raw.socket.close();
  });
  await check('a refused document is error, and nothing more', async () => {
    const raw = await (await acknowledged()).say(subscribe('e', '{ missing }'), subscribe('s', '{'), subscribe('v', 'query ($id: ID!) { node(id: $id) { id } }'));
    const refused = new Set();
    while (refused.size < 3) {
      const { type, id, payload } = await raw.hear();
      assert.equal(type, 'error');
      assert.ok(Array.isArray(payload) && payload.length > 0 && payload.every((error) => typeof error.message === 'string'));
      assert.ok(!refused.has(id));
      refused.add(id);
    }
    await raw.say({ type: 'ping' });
    await raw.expect({ type: 'pong' });
    // The ids of refused operations are free.
    await raw.say(subscribe('e', '{ __typename }'));
    assert.equal((await raw.hear()).type, 'next');
    raw.socket.close();
  });
  await check('an error of a field comes within next', async () => {
    const raw = await (await acknowledged()).say(subscribe('f', '{ channel(id: "channel_00000000000000000000000000") { id } __typename }'));
    const next = await raw.hear();
    assert.equal(next.type, 'next');
    assert.equal(next.payload.errors.length, 1);
    await raw.expect({ type: 'complete', id: 'f' });
    raw.socket.close();
  });
  await check('nothing comes after complete of the client', async () => {
    const raw = await (await acknowledged()).say(forever('1'));
    await world.send('one');
    assert.equal((await raw.hear()).id, '1');
    await raw.say({ type: 'complete', id: '1' }, { type: 'complete', id: 'unknown' }, { type: 'ping' });
    while ((await raw.hear()).type !== 'pong');
    await world.send('two');
    await raw.say({ type: 'ping' });
    await raw.expect({ type: 'pong' });
    await raw.say(forever('1'));
    await world.send('three');
    assert.equal((await raw.hear()).type, 'next');
    raw.socket.close();
  });
  await check('operations run beside each other', async () => {
    const raw = await (await acknowledged()).say(forever('s'), subscribe('m', SEND, { variables: { input: { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'over the socket' } } }), subscribe('q', '{ __typename }'));
    const complete = new Set();
    let told = false;
    while (complete.size < 2 || !told) {
      const { type, id, payload } = await raw.hear();
      if (type === 'complete') complete.add(id);
      else if (id === 's') told ||= payload.data.channelEvents.cursor !== null;
      else assert.equal(payload.errors, undefined);
    }
    raw.socket.close();
  });

  const client = (more) => createClient({ url: world.socketUrl, webSocketImpl: WebSocket, connectionParams: { Authorization: `Bearer ${world.token}` }, retryAttempts: 0, ...more });
  await check('graphql-ws: queries, mutations and refused documents', async () => {
    const ours = client();
    const one = async (payload) => (await ours.iterate(payload).next()).value;
    assert.deepEqual(await one({ query: '{ viewer { user { id } } }' }), { data: { viewer: { user: { id: world.user } } } });
    const input = { channelId: world.channel, clientMessageId: crypto.randomUUID(), text: 'by graphql-ws' };
    assert.equal((await one({ query: SEND, variables: { input } })).data.sendMessage.message.text, 'by graphql-ws');
    await assert.rejects(ours.iterate({ query: '{ missing }' }).next(), (errors) => errors[0].extensions.code === 'BAD_REQUEST');
    await ours.dispose();
  });
  await check('graphql-ws: a stream from a cursor on', async () => {
    const ours = client({ lazy: false, keepAlive: 200 });
    const after = await world.cursor();
    await world.send('before');
    const items = ours.iterate({ query: EVENTS, variables: { channelId: world.channel, after } });
    assert.deepEqual(await texts(items, 1), ['before']);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await world.send('after');
    assert.deepEqual(await texts(items, 1), ['after']);
    await items.return();
    await ours.dispose();
  });
  await check('graphql-ws: connects again after a lost connection', async () => {
    let socket;
    let cursor = await world.cursor();
    const seen = [];
    const ours = client({ retryAttempts: 5, shouldRetry: () => true, on: { opened: (opened) => (socket = opened) } });
    let wake;
    const stop = ours.subscribe(
      // The cursor is read each time that the operation is sent.
      { query: EVENTS, get variables() { return { channelId: world.channel, after: cursor }; } },
      { next: (item) => { cursor = item.data.channelEvents.cursor ?? cursor; if (text(item)) seen.push(text(item)); wake?.(); }, error: assert.fail, complete() {} },
    );
    const until = async (count) => within((async () => { while (seen.length < count) await new Promise((resolve) => (wake = resolve)); })(), `${count} messages, not ${seen}`);
    await world.send('eins');
    await until(1);
    socket.close(4499, 'as if it were lost');
    await world.send('zwei');
    await until(2);
    await world.send('drei');
    await until(3);
    assert.deepEqual(seen, ['eins', 'zwei', 'drei']);
    stop();
    await ours.dispose();
  });
  await check('graphql-ws: a forged token is told', async () => {
    const ours = client({ connectionParams: { Authorization: 'Bearer forged' } });
    await assert.rejects(ours.iterate({ query: '{ __typename }' }).next(), (event) => event.code === 4403);
  });
}
