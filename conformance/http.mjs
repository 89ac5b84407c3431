// The audits of graphql-http: every MUST, SHOULD and MAY of GraphQL over HTTP that it knows.
import { auditServer } from 'graphql-http';

export default async function http({ report, world }) {
  for (const result of await auditServer({ url: world.url })) {
    const level = { error: 'must', warn: 'should', notice: 'may' }[result.status] ?? result.name.split(' ')[0].toLowerCase();
    const name = `${result.id} ${result.name}`;
    if (result.status === 'ok') {
      report.add('graphql-http', name, level);
    } else {
      const body = result.response.bodyUsed ? '' : (await result.response.text()).slice(0, 300);
      report.add('graphql-http', name, level, `${result.reason}: ${result.response.status} ${result.response.headers.get('content-type')} ${body}`);
    }
  }
}
