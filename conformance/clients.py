"""Python's gql with each of its transports, against URL; a line of JSON for each check."""

import asyncio
import json
import sys
import traceback
import uuid

from gql import Client, GraphQLRequest, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport, HTTPXTransport
from gql.transport.requests import RequestsHTTPTransport
from gql.transport.websockets import WebsocketsTransport

world = json.loads(sys.argv[1])
URL, SOCKET_URL, CHANNEL = world["url"], world["socketUrl"], world["channel"]
AUTHORIZATION = {"Authorization": f"Bearer {world['token']}"}

VIEWER = gql("{ viewer { user { id } } }")
SEND = gql("mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { text } } }")
CURSOR = gql("query ($id: ID!) { channel(id: $id) { syncCursor } }")
EVENTS = gql(
    """subscription ($id: ID!, $after: EventCursor) {
        channelEvents(channelId: $id, after: $after) {
            event { __typename ... on MessageCreated { message { text } } }
        }
    }"""
)


def request(document, **variables):
    return GraphQLRequest(document, variable_values=variables)


def sending(text):
    given = {"channelId": CHANNEL, "clientMessageId": str(uuid.uuid4()), "text": text}
    return request(SEND, input=given)


def tell(name, error=None):
    print(json.dumps({"name": name, "error": error}), flush=True)


async def check(name, body):
    try:
        await asyncio.wait_for(body, 20)
        tell(name)
    except BaseException:
        tell(name, traceback.format_exc())


async def refused(session):
    # Validation is the server's here: the client knows no schema.
    try:
        await session.execute(request(gql("{ missing }")))
    except TransportQueryError as error:
        assert error.errors[0]["extensions"]["code"] == "BAD_REQUEST", error.errors
    else:
        raise AssertionError("not refused")


async def queries(transport, with_schema=False):
    async with Client(transport=transport, fetch_schema_from_transport=with_schema) as session:
        assert (await session.execute(VIEWER))["viewer"]["user"]["id"] == world["user"]
        sent = await session.execute(sending("by gql"))
        assert sent["sendMessage"]["message"]["text"] == "by gql"
        if with_schema:
            assert session.client.schema.subscription_type is not None
        else:
            await refused(session)


async def blocking(transport):
    def run():
        with Client(transport=transport) as session:
            assert session.execute(VIEWER)["viewer"]["user"]["id"] == world["user"]
            batch = session.execute(sending("by gql, blocking"))
            assert batch["sendMessage"]["message"]["text"] == "by gql, blocking"

    await asyncio.to_thread(run)


async def stream(transport):
    http = Client(transport=AIOHTTPTransport(url=URL, headers=AUTHORIZATION, ssl=False))
    async with http as sender, Client(transport=transport) as session:
        after = (await sender.execute(request(CURSOR, id=CHANNEL)))["channel"]["syncCursor"]
        await sender.execute(sending("before"))
        seen = []
        async for item in session.subscribe(request(EVENTS, id=CHANNEL, after=after)):
            event = item["channelEvents"]["event"]
            if event["__typename"] == "StreamCaughtUp":
                await sender.execute(sending("after"))
            elif event["__typename"] == "MessageCreated":
                seen.append(event["message"]["text"])
                if len(seen) == 2:
                    break
        assert seen == ["before", "after"], seen
        # The socket is good for more.
        assert (await session.execute(VIEWER))["viewer"]["user"]["id"] == world["user"]


def sockets(**more):
    yield "websockets", WebsocketsTransport(url=SOCKET_URL, init_payload=AUTHORIZATION, **more)
    yield "aiohttp websockets", AIOHTTPWebsocketsTransport(url=SOCKET_URL, init_payload=AUTHORIZATION, **more)


async def main():
    http = {"url": URL, "headers": AUTHORIZATION}
    await check("aiohttp: queries", queries(AIOHTTPTransport(**http, ssl=False)))
    await check("aiohttp: its schema", queries(AIOHTTPTransport(**http, ssl=False), with_schema=True))
    await check("httpx: queries", queries(HTTPXAsyncTransport(**http)))
    await check("httpx: blocking", blocking(HTTPXTransport(**http)))
    await check("requests: blocking", blocking(RequestsHTTPTransport(**http)))
    for name, transport in sockets():
        await check(f"{name}: queries", queries(transport))
    for name, transport in sockets(ping_interval=0.3, pong_timeout=5):
        await check(f"{name}: a stream, with pings of the client", stream(transport))
    for name, transport in sockets(subprotocols=["graphql-transport-ws"]):
        await check(f"{name}: with the one subprotocol", queries(transport))


asyncio.run(main())
