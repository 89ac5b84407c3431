// graphql-ws-client with graphql_client, by rust/src/main.rs.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { program } from './support.mjs';

export default async function rust({ report, world }) {
  const folder = fileURLToPath(new URL('rust', import.meta.url));
  const target = process.env.CARGO_TARGET_DIR ?? join(folder, 'target');
  execFileSync('cargo', ['build', '--locked', '--quiet', '--target-dir', target], { cwd: folder, stdio: 'inherit' });
  await program(report, 'graphql-ws-client (Rust)', join(target, 'debug', 'quikapp-conformance'), [], world);
}
