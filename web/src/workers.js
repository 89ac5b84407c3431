// Set before Monaco loads. The build puts the workers' addresses in.
globalThis.MonacoEnvironment = {
  getWorker(_id, label) {
    const address = { json: __JSON_WORKER__, graphql: __GRAPHQL_WORKER__ }[label] ?? __EDITOR_WORKER__;
    return new Worker(address, { name: label });
  },
};
