// Builds dist/: index.html as it is, everything else as NAME.gz. The same input gives the same bytes on every machine, which is
// why the compressor is fflate and not the zlib of the Node at hand.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { gzipSync } from 'fflate';

const root = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(root, 'dist');
const BASE = '/graphiql';

const shared = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  outdir: dist,
  target: ['es2022', 'chrome105', 'firefox115', 'safari16.4'],
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
};

const nameOf = (file) => path.basename(file.path);
/** The version in the address makes a browser fetch a file again when its content is another. */
const addressOf = (name, bytes) =>
  `${BASE}/${name}?v=${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`;

const workers = await build({
  ...shared,
  format: 'iife',
  entryPoints: {
    'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js',
    'json.worker': 'monaco-editor/esm/vs/language/json/json.worker.js',
    'graphql.worker': 'monaco-graphql/esm/graphql.worker.js',
  },
});
const workerAddress = Object.fromEntries(
  workers.outputFiles.map((file) => [nameOf(file), JSON.stringify(addressOf(nameOf(file), file.contents))]),
);

const page = await build({
  ...shared,
  format: 'esm',
  entryPoints: { main: 'src/main.jsx' },
  jsx: 'automatic',
  loader: { '.ttf': 'file' },
  assetNames: '[name]',
  publicPath: BASE,
  define: {
    ...shared.define,
    __EDITOR_WORKER__: workerAddress['editor.worker.js'],
    __JSON_WORKER__: workerAddress['json.worker.js'],
    __GRAPHQL_WORKER__: workerAddress['graphql.worker.js'],
  },
});

const files = new Map(
  [...workers.outputFiles, ...page.outputFiles].map((file) => [nameOf(file), Buffer.from(file.contents)]),
);
let html = await readFile(path.join(root, 'src/index.html'), 'utf8');
for (const name of ['main.css', 'main.js']) {
  const plain = `"${BASE}/${name}"`;
  if (!html.includes(plain)) throw new Error(`src/index.html does not refer to ${plain}`);
  html = html.replace(plain, `"${addressOf(name, files.get(name))}"`);
}
files.set('licenses.txt', Buffer.from(await licenses([workers.metafile, page.metafile])));

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
await writeFile(path.join(dist, 'index.html'), html);
let total = html.length;
for (const name of [...files.keys()].sort()) {
  const content = files.get(name);
  const packed = gzipSync(content, { level: 9, mem: 12, mtime: 0 });
  await writeFile(path.join(dist, `${name}.gz`), packed);
  total += packed.length;
  console.log(`${String(packed.length).padStart(9)}  ${name}.gz  (${content.length} unpacked)`);
}
console.log(`${String(total).padStart(9)}  in all`);

/** The notices of every package that has code in the bundle. */
async function licenses(metafiles) {
  const folders = new Set();
  for (const input of metafiles.flatMap((metafile) => Object.keys(metafile.inputs))) {
    const folder = input.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
    if (folder) folders.add(folder);
  }
  const notices = [];
  for (const folder of [...folders].sort()) {
    const full = path.join(root, folder);
    const { name, version, license } = JSON.parse(await readFile(path.join(full, 'package.json'), 'utf8'));
    const file = (await readdir(full)).sort().find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(full, file), 'utf8') : `License: ${license}`;
    notices.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return `GraphiQL as served here contains these packages.\n\n${notices.join(`\n${'-'.repeat(78)}\n\n`)}`;
}
