import { dataOf, post, ServerError } from './http.js';
import { canStore } from './storage.js';

/**
 * The access token that the page sends, and what is needed to renew it. `renew` is null for a token put in by hand.
 * Snapshots are immutable; `subscribe` and `snapshot` fit React's useSyncExternalStore.
 */
const KEY = 'quikapp:session';
const SIGN_IN = `mutation SignIn($email: String!, $password: String!) {
  signIn(email: $email, password: $password) { accessToken refreshToken expiresAt }
}`;
const REFRESH = `mutation RefreshSession($token: String!) {
  refreshSession(refreshToken: $token) { accessToken refreshToken expiresAt }
}`;
const RETRY_MS = 30_000;
const MAX_MARGIN_MS = 60_000;
const MAX_DELAY_MS = 2 ** 31 - 1;

let current = { token: '', renew: null, status: '', failed: false, ...read() };
let timer;
const listeners = new Set();
const signInListeners = new Set();
const replacedListeners = new Set();

export const snapshot = () => current;

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Called after each sign-in, not after a renewal. */
export function onSignIn(listener) {
  signInListeners.add(listener);
  return () => signInListeners.delete(listener);
}

/** Called when another token takes the place of the old one; `renewed` is true when it is still the same session. */
export function onTokenReplaced(listener) {
  replacedListeners.add(listener);
  return () => replacedListeners.delete(listener);
}

/** A token put in by hand. It is not renewed: the page has no refresh token for it. */
export function setToken(token) {
  if (token === current.token) return;
  update({ token, renew: null, status: '', failed: false });
  tokenReplaced(false);
}

export async function signIn(email, password) {
  update({ status: 'Signing in…', failed: false });
  try {
    const { result, serverTime } = await post({
      query: SIGN_IN,
      operationName: 'SignIn',
      variables: { email, password },
    });
    adopt(dataOf(result).signIn, serverTime);
  } catch (error) {
    update({ status: explain(error), failed: true });
    return false;
  }
  update({ status: 'Signed in' });
  tokenReplaced(false);
  for (const listener of signInListeners) listener();
  return true;
}

async function renewNow() {
  const { token, renew } = current;
  if (!renew) return;
  let payload;
  try {
    payload = await post({
      query: REFRESH,
      operationName: 'RefreshSession',
      variables: { token: renew.refreshToken },
    });
    if (current.token !== token) return;
    adopt(dataOf(payload.result).refreshSession, payload.serverTime);
  } catch (error) {
    if (current.token !== token) return;
    // The server's word is final; anything else (it is restarting, the network is away) is tried again.
    if (error instanceof ServerError) {
      update({ renew: null, status: `The session could not be renewed: ${error.message}`, failed: true });
    } else {
      schedule(RETRY_MS);
    }
    return;
  }
  tokenReplaced(true);
}

/** Times are taken relative to the server's clock, so that a wrong clock here does not matter. */
function adopt({ accessToken, refreshToken, expiresAt }, serverTime) {
  const lifetime = Date.parse(expiresAt) - serverTime;
  const renew = Number.isNaN(lifetime) ? null : { refreshToken, expiresAt: Date.now() + lifetime, lifetime };
  update({ token: accessToken, renew });
}

function update(change) {
  current = { ...current, ...change };
  write();
  if ('renew' in change) schedule();
  for (const listener of listeners) listener();
}

function tokenReplaced(renewed) {
  for (const listener of replacedListeners) listener(renewed);
}

function schedule(atLeast = 1_000) {
  clearTimeout(timer);
  const { renew } = current;
  if (!renew) return;
  const margin = Math.min(MAX_MARGIN_MS, renew.lifetime / 5);
  const delay = Math.max(renew.expiresAt - margin - Date.now(), atLeast);
  timer = setTimeout(delay > MAX_DELAY_MS ? schedule : renewNow, Math.min(delay, MAX_DELAY_MS));
}

function explain(error) {
  return error instanceof TypeError ? 'The server cannot be reached.' : error.message;
}

function read() {
  if (!canStore) return {};
  try {
    const { token = '', renew = null } = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
    return { token, renew };
  } catch {
    return {};
  }
}

function write() {
  if (!canStore) return;
  const { token, renew } = current;
  if (token) sessionStorage.setItem(KEY, JSON.stringify({ token, renew }));
  else sessionStorage.removeItem(KEY);
}

schedule();
