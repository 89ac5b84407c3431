import { useState, useSyncExternalStore } from 'react';
import { setToken, signIn, snapshot, subscribe } from './session.js';

export function Bar() {
  const { token, status, failed } = useSyncExternalStore(subscribe, snapshot);
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    if (await signIn(email, password)) setPassword('');
    setBusy(false);
  }

  return (
    <header className="quikapp-bar">
      <h1>QuikApp</h1>
      <form onSubmit={submit} aria-label="Sign in">
        <label htmlFor="email">Email</label>
        <input
          id="email"
          type="email"
          autoComplete="username"
          required
          value={email}
          onChange={(event) => setEmail(event.target.value)}
        />
        <label htmlFor="password">Password</label>
        <input
          id="password"
          type="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
        <button id="sign-in" type="submit" aria-disabled={busy}>
          Sign in
        </button>
      </form>
      <span id="sign-in-status" role="status" aria-live="polite" className={failed ? 'failed' : undefined}>
        {status}
      </span>
      <span className="token">
        <label htmlFor="access-token">Access token</label>
        <input
          id="access-token"
          type="text"
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          placeholder="none: requests are anonymous"
          value={token}
          onChange={(event) => setToken(event.target.value.trim())}
        />
      </span>
    </header>
  );
}
