import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useEffect, useRef } from 'react';
import { CHANNEL, USER } from './examples.js';
import { post } from './http.js';
import { onSignIn, snapshot } from './session.js';

const FIRST_CHANNEL = `query FirstChannel {
  viewer { user { id } channels(first: 1) { nodes { channel { id } } } }
}`;

/** Stands inside GraphiQL and joins it to the rest of the page. Shows nothing. */
export function Bridge() {
  const state = useGraphiQL(
    pick('tabs', 'activeTabIndex', 'queryEditor', 'variableEditor', 'responseEditor', 'schema', 'fetchError'),
  );
  const actions = useGraphiQLActions();
  const latest = useRef(null);
  useEffect(() => {
    latest.current = state;
  });

  // For tests and scripts in the console; see README.md.
  const ready = Boolean(state.queryEditor && state.variableEditor && state.responseEditor);
  const schema = state.schema ? 'loaded' : state.fetchError ? 'failed' : 'loading';
  useEffect(() => {
    const root = document.getElementById('graphiql');
    root.dataset.editors = ready ? 'ready' : 'loading';
    root.dataset.schema = schema;
  }, [ready, schema]);
  useEffect(() => {
    window.quikapp = {
      getQuery: () => latest.current.queryEditor.getValue(),
      setQuery: (text) => latest.current.queryEditor.setValue(text),
      getVariables: () => latest.current.variableEditor.getValue(),
      setVariables: (text) => latest.current.variableEditor.setValue(text),
      getResponse: () => latest.current.responseEditor.getValue(),
      run: () => void actions.run(),
    };
    return () => delete window.quikapp;
  }, [actions]);

  useEffect(
    () =>
      onSignIn(async () => {
        const ids = await firstIds(snapshot().token);
        if (ids && latest.current?.variableEditor) fillIn(ids, latest.current, actions);
      }),
    [actions],
  );
  return null;
}

/** A nicety only: whatever goes wrong here, the placeholders just stay. */
async function firstIds(token) {
  try {
    const { result } = await post(
      { query: FIRST_CHANNEL, operationName: 'FirstChannel' },
      { Authorization: `Bearer ${token}` },
    );
    const viewer = result.data?.viewer;
    return viewer && { [CHANNEL]: viewer.channels?.nodes?.[0]?.channel?.id, [USER]: viewer.user?.id };
  } catch {
    return null;
  }
}

/** Puts real ids where a tab's variables still have the placeholders. */
function fillIn(ids, { tabs, activeTabIndex, variableEditor }, { moveTab }) {
  const fill = (text) =>
    Object.entries(ids).reduce((filled, [from, to]) => (to ? filled.replaceAll(`"${from}"`, JSON.stringify(to)) : filled), text);
  let changed = false;
  const filled = tabs.map((tab, index) => {
    const variables = fill(tab.variables ?? '');
    if (index === activeTabIndex || variables === (tab.variables ?? '')) return tab;
    changed = true;
    return { ...tab, variables };
  });
  // moveTab takes the whole list; the order stays as it is. It writes the active tab back into the editors, so that comes second.
  if (changed) moveTab(filled);
  const active = variableEditor.getValue();
  if (fill(active) !== active) variableEditor.setValue(fill(active));
}
