"""Tests that tests, and so the package in them, stay off the network."""

import socket

import pytest


def test_connections_to_other_machines_are_refused_in_tests():
    with pytest.raises(PermissionError, match="must not use the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_connections_within_this_machine_are_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
