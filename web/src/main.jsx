import './workers.js';
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './style.css';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';
import { Bar } from './bar.jsx';
import { Bridge } from './bridge.jsx';
import { examples } from './examples.js';
import { fetcher } from './fetcher.js';
import { storage } from './storage.js';

/**
 * `?query=…&variables=…` opens a tab of its own with that text; nothing runs until the button is pressed. The parameters are
 * taken out of the address afterwards: the tab is stored by then, and a reload must not bring it back over later edits.
 */
function tabFromAddress() {
  const parameters = new URLSearchParams(location.search);
  const query = parameters.get('query');
  if (query === null) return null;
  history.replaceState(history.state, '', location.pathname + location.hash);
  const variables = parameters.get('variables') ?? '';
  // GraphiQL stores these two on the first edit only, and finds the tab again by them after a reload.
  storage?.setItem('graphiql:query', query);
  storage?.setItem('graphiql:variables', variables);
  return { query, variables };
}

const linked = tabFromAddress();

createRoot(document.getElementById('app')).render(
  <>
    <Bar />
    <main id="graphiql">
      <GraphiQL
        fetcher={fetcher}
        storage={storage}
        defaultTabs={linked ? [linked, ...examples] : examples}
        initialQuery={linked?.query}
        initialVariables={linked?.variables}
        defaultEditorToolsVisibility="variables"
        shouldPersistHeaders={false}
      >
        <GraphiQL.Logo>
          <span className="explorer-name">GraphiQL</span>
        </GraphiQL.Logo>
        <GraphiQL.Toolbar>
          {({ prettify, merge, copy }) => (
            <>
              {prettify}
              {merge}
              {copy}
              <Bridge />
            </>
          )}
        </GraphiQL.Toolbar>
      </GraphiQL>
    </main>
  </>,
);
