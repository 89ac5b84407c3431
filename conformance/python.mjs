// Python's gql, by clients.py.
import { fileURLToPath } from 'node:url';
import { program } from './support.mjs';

export default async function python({ report, world, python }) {
  await program(report, 'gql (Python)', python(), [fileURLToPath(new URL('clients.py', import.meta.url))], world);
}
