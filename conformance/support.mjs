// What the suites share: a workspace with one person in it, and a list of what was checked.
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { inspect } from 'node:util';

/** For what takes milliseconds on an idle machine. */
const SOON = 10_000;

export class Report {
  rows = [];

  add(suite, name, level, error) {
    this.rows.push({ suite, name, level, ok: !error });
    if (error) {
      const text = error instanceof Error ? error.stack : inspect(error, { depth: 8 });
      console.error(`${level === 'must' ? 'FAIL' : level} ${suite}: ${name}\n${text}\n`);
    }
  }

  /** The table; false where something that has to hold does not. */
  print() {
    const suites = new Map();
    for (const { suite, level, ok } of this.rows) {
      const row = suites.get(suite) ?? { suite, passed: 0, failed: 0, warnings: 0 };
      suites.set(suite, row);
      if (ok) row.passed += 1;
      else if (level === 'must') row.failed += 1;
      else row.warnings += 1;
    }
    console.table([...suites.values()]);
    return this.rows.length > 0 && this.rows.every(({ level, ok }) => ok || level !== 'must');
  }

  /** Checks of one suite; each has half a minute. */
  suite(name) {
    return async (what, body) => {
      try {
        await within(body(), what, 30_000);
        this.add(name, what, 'must');
      } catch (error) {
        this.add(name, what, 'must', error);
      }
    };
  }
}

export async function within(promise, what, time = SOON) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${time} ms: ${what}`)), time);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks `probe` until it gives something. */
export async function eventually(what, probe) {
  const end = Date.now() + SOON;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs a program that is given the world and prints a line of JSON for each check. */
export async function program(report, suite, file, args, world) {
  const { error, out } = await new Promise((resolve) => {
    const environment = { timeout: 120_000, maxBuffer: 1e8 };
    execFile(file, [...args, JSON.stringify({ ...world })], environment, (error, out) => resolve({ error, out }));
  });
  const lines = out.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  for (const { name, error } of lines) report.add(suite, name, 'must', error ?? undefined);
  if (error || lines.length === 0) report.add(suite, 'the program', 'must', error ?? new Error('it says nothing'));
}

/** Somebody who has registered, with a workspace and its channel. */
export class World {
  static async make(url) {
    const world = new World();
    world.url = `${url}/graphql`;
    world.socketUrl = world.url.replace(/^http/, 'ws');
    const name = crypto.randomUUID();
    const { register } = await world.query(
      `mutation ($email: String!) {
        register(email: $email, password: "long enough", displayName: "Ada") {
          accessToken refreshToken expiresAt session { id } viewer { user { id } }
        }
      }`,
      { email: `${name}@example.com` },
    );
    world.token = register.accessToken;
    world.refreshToken = register.refreshToken;
    world.expiresAt = Date.parse(register.expiresAt);
    world.session = register.session.id;
    world.user = register.viewer.user.id;
    const { createWorkspace } = await world.query(
      'mutation ($slug: String!) { createWorkspace(name: "Team", slug: $slug) { workspace { id channels(first: 1) { nodes { id } } } } }',
      { slug: `t${name.slice(0, 30)}` },
    );
    world.workspace = createWorkspace.workspace.id;
    world.channel = createWorkspace.workspace.channels.nodes[0].id;
    return world;
  }

  get headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  async query(query, variables) {
    return this.anonymous(query, variables, this.headers);
  }

  async anonymous(query, variables, headers = {}) {
    const response = await fetch(this.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = await response.json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  async send(text) {
    const input = { channelId: this.channel, clientMessageId: crypto.randomUUID(), text };
    const { sendMessage } = await this.query(SEND, { input });
    return sendMessage.message;
  }

  /** A cursor behind all that there is. */
  async cursor() {
    const { channel } = await this.query('query ($id: ID!) { channel(id: $id) { syncCursor } }', { id: this.channel });
    return channel.syncCursor;
  }
}

export const SEND = 'mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { message { id text } } }';

export const EVENTS = `subscription Events($channelId: ID!, $after: EventCursor) {
  channelEvents(channelId: $channelId, after: $after) {
    cursor
    event { __typename ... on MessageCreated { message { id text } } }
  }
}`;

/** The text of the next message among what `items` brings; null for an item that brings none. */
export const text = (result) => result?.data?.channelEvents?.event?.message?.text ?? null;

/** The texts of the next `count` messages. */
export async function texts(items, count) {
  const found = [];
  while (found.length < count) {
    const { value, done } = await within(items.next(), `message ${found.length + 1} of ${count}`);
    if (done) throw new Error(`the stream ended after ${inspect(found)}`);
    if (!value.data) throw new Error(`an item without data: ${inspect(value, { depth: 6 })}`);
    const one = text(value);
    if (one !== null) found.push(one);
  }
  return found;
}
