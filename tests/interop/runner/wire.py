"""Just enough of the protocol to ask a broker what it serves."""

import socket
import struct


def receive(connection, count):
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionError("closed by the broker")
        data += chunk
    return data


def call(address, key, version, body=b"", timeout_s=10):
    """Sends one request with a non-flexible header; returns the answer's body."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout_s) as connection:
        frame = struct.pack(">hhih", key, version, 7, -1) + body
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        (length,) = struct.unpack(">i", receive(connection, 4))
        return receive(connection, length)[4:]


def api_versions(address):
    """The served APIs: {key: (lowest, highest version)}."""
    body = call(address, 18, 0)
    error, count = struct.unpack_from(">hi", body)
    if error:
        raise RuntimeError(f"ApiVersions answered error {error}")
    rows = (struct.unpack_from(">hhh", body, 6 + 6 * i) for i in range(count))
    return {key: (low, high) for key, low, high in rows}
