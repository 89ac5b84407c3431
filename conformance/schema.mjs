// What tools make of schema.graphql: graphql-js, and the rules of Relay's servers.
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildClientSchema, buildSchema, getIntrospectionQuery, isObjectType, lexicographicSortSchema, printSchema, validateSchema } from 'graphql';

const FILE = fileURLToPath(new URL('../schema.graphql', import.meta.url));

export default async function schema({ check, world }) {
  const text = readFileSync(FILE, 'utf8');
  const built = buildSchema(text);
  await check('graphql-js finds no fault with schema.graphql', async () => assert.deepEqual(validateSchema(built), []));
  await check('schema.graphql is what the server tells of itself', async () => {
    const told = buildClientSchema(await world.query(getIntrospectionQuery({ descriptions: true, specifiedByUrl: true, inputValueDeprecation: true, oneOf: true })));
    assert.equal(printSchema(lexicographicSortSchema(told)), printSchema(lexicographicSortSchema(built)));
  });
  // https://relay.dev/graphql/connections.htm, https://relay.dev/graphql/objectidentification.htm
  await check('connections are those of Relay', async () => {
    const named = (type) => String(type).replace(/[[\]!]/g, '');
    const connections = Object.values(built.getTypeMap()).filter((type) => isObjectType(type) && type.name.endsWith('Connection'));
    assert.ok(connections.length > 0);
    for (const { name } of connections) {
      const fields = built.getType(name).getFields();
      assert.equal(String(fields.pageInfo.type), 'PageInfo!', name);
      const edge = built.getType(named(fields.edges.type));
      assert.ok(isObjectType(edge) && edge.name.endsWith('Edge'), name);
      assert.match(String(edge.getFields().cursor.type), /^String!?$/, name);
      assert.ok(!String(edge.getFields().node.type).startsWith('['), name);
    }
    const page = built.getType('PageInfo').getFields();
    for (const [field, type] of Object.entries({ hasNextPage: 'Boolean!', hasPreviousPage: 'Boolean!', startCursor: 'String', endCursor: 'String' })) {
      assert.equal(String(page[field].type), type);
    }
    for (const type of Object.values(built.getTypeMap())) {
      if (!isObjectType(type) || type.name.startsWith('__')) continue;
      for (const field of Object.values(type.getFields())) {
        if (!named(field.type).endsWith('Connection')) continue;
        const args = Object.fromEntries(field.args.map((argument) => [argument.name, String(argument.type)]));
        assert.ok(args.first?.startsWith('Int') && args.after === 'String', `${type.name}.${field.name} ${JSON.stringify(args)}`);
        if (args.last || args.before) assert.ok(args.last?.startsWith('Int') && args.before === 'String', `${type.name}.${field.name}`);
      }
    }
  });
  await check('objects have ids as Relay wants them', async () => {
    assert.equal(String(built.getType('Node').getFields().id.type), 'ID!');
    const { node } = built.getQueryType().getFields();
    assert.equal(String(node.type), 'Node');
    assert.deepEqual(node.args.map((argument) => String(argument.type)), ['ID!']);
    const { channel } = await world.query('query ($id: ID!) { channel(id: $id) { id } }', { id: world.channel });
    const again = await world.query('query ($id: ID!) { node(id: $id) { __typename id ... on Channel { name } } }', { id: channel.id });
    assert.equal(again.node.__typename, 'Channel');
    assert.equal(again.node.id, channel.id);
  });
}
