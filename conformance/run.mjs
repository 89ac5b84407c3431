// node run.mjs [SUITE…]: runs other people's clients and suites against a real server, and prints a table.
//
// The server is the one that `cargo build` has made (or QUIKAPP_BINARY), on empty stores: embedded, or those of DATABASE_URL,
// MONGODB_URL and REDIS_URL. The clients are those of package-lock.json and requirements.txt.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Report, World } from './support.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BINARY = process.env.QUIKAPP_BINARY ?? join(HERE, '..', 'target', 'debug', 'quikapp');
const SECRET = process.env.JWT_SECRET ?? crypto.randomUUID();
const SUITES = ['http', 'websocket', 'sse', 'apollo', 'urql', 'relay', 'schema', 'tokens', 'python', 'rust'];

const folder = mkdtempSync(join(tmpdir(), 'quikapp-conformance-'));
const servers = [];

/** Starts a server; gives its address. */
function serve(name, settings) {
  const environment = { ...process.env, LISTEN: '127.0.0.1:0', DATA_DIR: join(folder, name), JWT_SECRET: SECRET, ...settings };
  const server = spawn(BINARY, ['serve'], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  servers.push(server);
  return new Promise((resolve, reject) => {
    let said = '';
    server.on('error', reject).on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${said}`)));
    server.stdout.on('data', (data) => {
      said += data;
      const address = /listening on (\S+)/.exec(said);
      if (address) resolve(address[1]);
    });
  });
}

/** A Python with what the suite needs, made once. */
function python() {
  if (process.env.PYTHON) return process.env.PYTHON;
  const environment = join(HERE, 'node_modules', '.python');
  const binary = join(environment, 'bin', 'python');
  if (!existsSync(binary)) execFileSync('python3', ['-m', 'venv', environment], { stdio: 'inherit' });
  execFileSync(binary, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '-r', join(HERE, 'requirements.txt')], { stdio: 'inherit' });
  return binary;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !SUITES.includes(name));
if (unknown.length > 0) throw new Error(`no suite ${unknown}; there are ${SUITES.join(', ')}`);
const report = new Report();
try {
  const suites = SUITES.filter((name) => wanted.length === 0 || wanted.includes(name));
  const url = await serve('usual', { INIT_TIMEOUT: '3' });
  const brief = suites.includes('tokens') ? await serve('brief', { ACCESS_TOKEN_LIFE: '10' }) : null;
  for (const name of suites) {
    console.error(`${name} …`);
    const { default: run } = await import(`./${name}.mjs`);
    const world = await World.make(url);
    await run({ report, check: report.suite(name), world, brief, python });
  }
} finally {
  for (const server of servers) server.removeAllListeners('exit').kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(report.print() ? 0 : 1);
