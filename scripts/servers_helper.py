"""What `scripts/servers` cannot say well in bash. Standard library only.

    apt-source                    the machine's own Debian (or Ubuntu) source, in apt's deb822 format
    answers [primary] NAME=PORT…  exit 0 if each of these servers answers in its own protocol
    replica-set TOTAL PORT…       make the mongods on these ports a replica set, and wait for its primary; or
                                  only for them to answer, if they are no majority of TOTAL members
"""

import glob
import os
import re
import socket
import struct
import sys
import time

SET_NAME = "rs0"
NOT_YET_INITIALIZED = 94


# --- sources of packages ---------------------------------------------------------------------


def os_release():
    values = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            key, found, value = line.strip().partition("=")
            if found:
                values[key] = value.strip("\"'")
    return values


def deb822_stanzas(text):
    for block in re.split(r"\n\s*\n", text):
        fields, last = {}, None
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and last:
                fields[last] += "\n" + line
            elif ":" in line:
                last, value = line.split(":", 1)
                last = last.strip().lower()
                fields[last] = value.strip()
        if fields:
            yield fields


def one_line_stanzas(text):
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>[^#]+)", line)
        if not match:
            continue
        suite, *components = match["rest"].split()
        fields = {"types": "deb", "uris": match["uri"], "suites": suite, "components": " ".join(components)}
        for option in (match["options"] or "").split():
            key, _, value = option.partition("=")
            if key.lower() == "signed-by":
                fields["signed-by"] = value.replace(",", " ")
        yield fields


def apt_stanzas():
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        if not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if path.endswith(".sources"):
            yield from deb822_stanzas(text)
        elif path.endswith(".list"):
            yield from one_line_stanzas(text)


def apt_source():
    """Copies the distribution's own source, so that no host name has to be known here.

    Debian has MySQL in unstable only, so there the suite becomes `sid`. Ubuntu has it in every release.
    """
    release = os_release()
    family = "ubuntu" if "ubuntu" in f"{release.get('ID')} {release.get('ID_LIKE', '')}" else "debian"
    codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    suites = {codename, "sid", "unstable", "testing", "stable", "oldstable"} - {""}
    candidates = []
    for stanza in apt_stanzas():
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() == "no":
            continue
        if "main" not in stanza.get("components", "").split() or not suites & set(stanza.get("suites", "").split()):
            continue
        # Other vendors use a release's name as their suite too: the keyring or the archive's path tells them apart.
        signed = f"{family}-archive-keyring" in stanza.get("signed-by", "")
        named = any(re.search(rf"/{family}(\.list)?/?$", uri) for uri in stanza.get("uris", "").split())
        if signed or (named and "signed-by" not in stanza):
            candidates.append((signed, stanza))
    if not candidates:
        sys.exit(f"no source of {family.capitalize()}'s own packages found in /etc/apt")
    stanza = max(candidates, key=lambda candidate: candidate[0])[1]
    print("Types: deb")
    print("URIs:", stanza["uris"])
    print("Suites:", "sid" if family == "debian" else f"{codename} {codename}-updates")
    print("Components:", "main" if family == "debian" else "main universe")
    if "signed-by" in stanza:
        print("Signed-By:", stanza["signed-by"])


# --- probes --------------------------------------------------------------------------------------


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=2)


def receive(connection, length):
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise OSError("connection closed")
        data += piece
    return data


def redis_answers(port):
    with connect(port) as connection:
        connection.sendall(b"PING\r\n")
        return receive(connection, 5) == b"+PONG"


def mysql_answers(port):
    """A ready server greets with protocol 10; one that refuses (too many connections) sends 0xff."""
    with connect(port) as connection:
        return receive(connection, 5)[4] == 10


def answers(arguments):
    """With the argument `primary`, one of the mongods has to be it."""
    primary_missing = "primary" in arguments
    for argument in arguments:
        name, is_server, port = argument.partition("=")
        if not is_server:
            continue
        try:
            if name == "redis":
                good = redis_answers(int(port))
            elif name == "mysql":
                good = mysql_answers(int(port))
            else:
                reply = command(int(port), {"hello": 1})
                good = bool(reply.get("isWritablePrimary") or reply.get("secondary"))
                primary_missing = primary_missing and not reply.get("isWritablePrimary")
        except OSError:
            good = False
        if not good:
            return False
    return not primary_missing


# --- as much of MongoDB's wire format as starting a replica set takes ----------------------------


def bson(document):
    body = b""
    for key, value in document.items():
        name = key.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + name + (b"\1" if value else b"\0")
        elif isinstance(value, int):
            small = -(2**31) <= value < 2**31
            body += (b"\x10" if small else b"\x12") + name + struct.pack("<i" if small else "<q", value)
        elif isinstance(value, float):
            body += b"\x01" + name + struct.pack("<d", value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + name + struct.pack("<i", len(text)) + text
        elif isinstance(value, dict):
            body += b"\x03" + name + bson(value)
        elif isinstance(value, list):
            body += b"\x04" + name + bson({str(index): item for index, item in enumerate(value)})
        elif isinstance(value, bytes) and len(value) == 12:
            body += b"\x07" + name + value
        elif value is not None:
            raise TypeError(f"{key}: {type(value)}")
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def unbson(data, at=0):
    end = at + struct.unpack_from("<i", data, at)[0] - 1
    at += 4
    document = {}
    while at < end:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        key, at = data[at + 1 : stop].decode(), stop + 1
        if kind in (0x01, 0x09, 0x10, 0x11, 0x12):
            form = {0x01: "<d", 0x10: "<i"}.get(kind, "<q")
            value = struct.unpack_from(form, data, at)[0]
            at += struct.calcsize(form)
        elif kind == 0x02:
            length = struct.unpack_from("<i", data, at)[0]
            value = data[at + 4 : at + 3 + length].decode()
            at += 4 + length
        elif kind in (0x03, 0x04):
            value = unbson(data, at)
            if kind == 0x04:
                value = list(value.values())
            at += struct.unpack_from("<i", data, at)[0]
        elif kind == 0x05:
            length = struct.unpack_from("<i", data, at)[0]
            value = data[at + 5 : at + 5 + length]
            at += 5 + length
        elif kind == 0x07:
            value = data[at : at + 12]
            at += 12
        elif kind == 0x08:
            value = data[at] == 1
            at += 1
        elif kind == 0x0A:
            value = None
        else:
            raise ValueError(f"{key}: BSON type {kind}")
        document[key] = value
    return document


def command(port, document):
    message = struct.pack("<iB", 0, 0) + bson({**document, "$db": "admin"})
    with connect(port) as connection:
        connection.settimeout(30)
        connection.sendall(struct.pack("<iiii", len(message) + 16, 1, 0, 2013) + message)
        length = struct.unpack("<i", receive(connection, 4))[0]
        return unbson(receive(connection, length - 4), 17)


# --- the replica set -----------------------------------------------------------------------------


def fail_unless_ok(reply, what):
    if reply.get("ok") != 1:
        sys.exit(f"{what}: {reply.get('errmsg', reply)}")


def wait_until(what, seconds, condition):
    until = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > until:
            sys.exit(f"waited {seconds} s in vain for {what}")
        time.sleep(0.1)


def replica_set(total, ports):
    hosts = [f"127.0.0.1:{port}" for port in ports]
    for port in ports:
        wait_until(f"mongod on port {port}", 60, lambda port=port: command(port, {"ping": 1}).get("ok"))
    if 2 * len(ports) <= total:
        return

    states = [command(port, {"replSetGetStatus": 1}) for port in ports]
    if all(state.get("code") == NOT_YET_INITIALIZED for state in states):
        configuration = {
            "_id": SET_NAME,
            "members": [{"_id": index, "host": host} for index, host in enumerate(hosts)],
            # A test of failover should not have to wait for the default of ten seconds.
            "settings": {"electionTimeoutMillis": 5000},
        }
        fail_unless_ok(command(ports[0], {"replSetInitiate": configuration}), "replSetInitiate")

    def primary():
        for port in ports:
            try:
                if command(port, {"hello": 1}).get("isWritablePrimary"):
                    return port
            except OSError:
                pass
        return None

    def everyone():
        return answers(["primary", *(f"mongo={port}" for port in ports)])

    # One more voting member at a time is all that MongoDB allows.
    for host in hosts:
        leader = wait_until("a primary", 60, primary)
        configuration = command(leader, {"replSetGetConfig": 1})["config"]
        members = configuration["members"]
        if any(member["host"] == host for member in members):
            continue

        def add(leader=leader, configuration=configuration, members=members, host=host):
            number = 1 + max(member["_id"] for member in members)
            changed = {
                **configuration,
                "version": configuration["version"] + 1,
                "members": [*members, {"_id": number, "host": host}],
            }
            reply = command(leader, {"replSetReconfig": changed})
            # The change before it may still have to reach a majority.
            if reply.get("codeName") in ("CurrentConfigNotCommittedYet", "ConfigurationInProgress"):
                return False
            fail_unless_ok(reply, "replSetReconfig")
            return True

        wait_until(f"{host} as a new member", 60, add)
    wait_until("a primary and its secondaries", 90, everyone)


def main():
    what, *arguments = sys.argv[1:] or ["help"]
    if what == "apt-source":
        apt_source()
    elif what == "answers":
        sys.exit(0 if answers(arguments) else 1)
    elif what == "replica-set":
        total, *ports = map(int, arguments)
        replica_set(total, ports)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
