export const ENDPOINT = '/graphql';

/** One GraphQL request over HTTP. Resolves to the response's JSON whatever its status; rejects when there is no JSON. */
export async function post(body, headers = {}) {
  const response = await fetch(ENDPOINT, {
    method: 'POST',
    headers: {
      Accept: 'application/graphql-response+json, application/json',
      'Content-Type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  let result;
  try {
    result = JSON.parse(text);
  } catch {
    throw new Error(`HTTP ${response.status} ${response.statusText}: ${text.slice(0, 500) || 'an empty response'}`);
  }
  const date = Date.parse(response.headers.get('Date') ?? '');
  return { result, serverTime: Number.isNaN(date) ? Date.now() : date };
}

/** The `data` of a response, or its first error thrown. */
export function dataOf(result) {
  if (result?.errors?.length) throw new ServerError(result.errors[0].message);
  if (!result?.data) throw new ServerError('The server sent no data.');
  return result.data;
}

export class ServerError extends Error {}
