/**
 * What is typed into the editors may hold passwords and tokens, so tabs and history live as long as the browser tab does.
 * Theme and layout are kept for good.
 */
const PER_TAB = /^graphiql:(tabState|query|variables|headers|queries|favorites)$/;
const PREFIX = 'graphiql:';

const areaOf = (key) => (PER_TAB.test(key) ? sessionStorage : localStorage);

function ownKeys(area) {
  return Object.keys(area).filter((key) => key.startsWith(PREFIX));
}

function available() {
  try {
    return Boolean(sessionStorage && localStorage);
  } catch {
    return false;
  }
}

export const canStore = available();

/** For GraphiQL's `storage` property; null keeps everything in memory. */
export const storage = canStore
  ? {
      getItem: (key) => areaOf(key).getItem(key),
      setItem: (key, value) => areaOf(key).setItem(key, value),
      removeItem: (key) => areaOf(key).removeItem(key),
      get length() {
        return ownKeys(sessionStorage).length + ownKeys(localStorage).length;
      },
      clear() {
        for (const area of [sessionStorage, localStorage]) for (const key of ownKeys(area)) area.removeItem(key);
      },
    }
  : null;
