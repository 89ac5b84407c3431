import { Kind, parse } from 'graphql';
import { createClient } from 'graphql-ws';
import { ENDPOINT, post } from './http.js';
import { onTokenReplaced, snapshot } from './session.js';

/**
 * Subscriptions go over one WebSocket (graphql-transport-ws), opened when the first one starts; everything else is an HTTP
 * POST. Both carry the token of the bar and what is in the headers pane; the pane wins.
 */
export async function fetcher({ query, variables, operationName }, { headers: pane, documentAST } = {}) {
  // GraphiQL's own introspection is the one call without a document. The schema is public, so a stale token must not be in its way.
  const isSchemaQuery = operationName === 'IntrospectionQuery' && !documentAST;
  const headers = requestHeaders(isSchemaQuery ? '' : snapshot().token, pane);
  const { isSubscription, name } = operationIn(query, operationName);
  const request = { query, variables, operationName: name };
  if (!isSubscription) {
    try {
      return (await post(request, headers)).result;
    } catch (error) {
      throw failure(error instanceof TypeError ? `The server cannot be reached: ${error.message}` : error.message);
    }
  }
  return {
    subscribe(sink) {
      const unsubscribe = clientFor(headers).subscribe(request, {
        next: (result) => sink.next(result),
        complete: () => sink.complete(),
        error: (reason) => {
          if (Array.isArray(reason)) {
            sink.next({ errors: reason });
            sink.complete();
          } else {
            sink.error(reason instanceof CloseEvent ? closed(reason) : reason);
          }
        },
      });
      return { unsubscribe };
    },
  };
}

/** The name comes from the editor with a short delay and may be one that the text no longer has. */
function operationIn(query, wanted) {
  let operations;
  try {
    operations = parse(query).definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  } catch {
    return { isSubscription: false, name: wanted }; // The server explains what is wrong with it.
  }
  const operation = operations.find(({ name }) => name?.value === wanted) ?? (operations.length === 1 ? operations[0] : null);
  return { isSubscription: operation?.operation === 'subscription', name: operation?.name?.value };
}

/** Names are compared without case; an empty or null value in the pane takes the header out. */
function requestHeaders(token, pane) {
  const headers = new Map();
  if (token) headers.set('authorization', ['Authorization', `Bearer ${token}`]);
  for (const [name, value] of Object.entries(pane ?? {})) {
    const key = name.toLowerCase();
    if (value === null || value === '') headers.delete(key);
    else headers.set(key, [headers.get(key)?.[0] ?? (key === 'authorization' ? 'Authorization' : name), String(value)]);
  }
  return Object.fromEntries(headers.values());
}

let client = null;
let clientHeaders;

/** The client belongs to the headers it was connected with. */
function clientFor(headers) {
  const key = JSON.stringify(headers);
  if (client && clientHeaders !== key) dispose();
  if (!client) {
    const address = new URL(ENDPOINT, location.href);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    address.search = '';
    address.hash = '';
    // No silent reconnection: a stream without a cursor would leave a gap that nobody sees.
    client = createClient({ url: address.href, connectionParams: headers, lazy: true, retryAttempts: 0, keepAlive: 15_000 });
    clientHeaders = key;
  }
  return client;
}

function dispose() {
  client?.dispose();
  client = null;
}

// Another user's token ends what runs under the old one. A renewed token is for the next connection: the client is let go and
// closes its socket by itself when its last subscription has ended.
onTokenReplaced((renewed) => {
  if (renewed) client = null;
  else dispose();
});

function closed({ code, reason }) {
  return failure(`The WebSocket was closed: ${code}${reason ? ` ${reason}` : ''}`);
}

/** Without the stack, which GraphiQL would show in the response pane. */
function failure(message) {
  const error = new Error(message);
  delete error.stack;
  return error;
}
