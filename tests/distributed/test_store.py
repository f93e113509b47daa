from __future__ import annotations

import errno
import os
import socket
import threading
import time
from datetime import timedelta

import pytest

from flambeau.distributed import DistNetworkError, DistStoreError, FileStore, HashStore, PrefixStore, QueueEmptyError, TCPStore
from flambeau.distributed.handshake import accept_all

SOON = timedelta(milliseconds=50)


@pytest.fixture(params=["hash", "file", "tcp", "prefix"])
def store(request, tmp_path):
    if request.param == "hash":
        return HashStore()
    if request.param == "file":
        return FileStore(str(tmp_path / "store"), 1)
    tcp = TCPStore("127.0.0.1", 0, is_master=True)
    return PrefixStore("part", tcp) if request.param == "prefix" else tcp


def test_values_are_bytes(store):
    store.set("text", "value")
    store.set("bytes", b"\0\xff")
    assert (store.get("text"), store.get("bytes")) == (b"value", b"\0\xff")
    assert store.multi_get(["bytes", "text"]) == [b"\0\xff", b"value"]
    store.multi_set(["a", "b"], ["1", b"2"])
    assert store.check(["a", "b"]) and not store.check(["a", "c"])
    assert store.num_keys() == 4 and sorted(store.list_keys()) == ["a", "b", "bytes", "text"]


def test_counters_and_appending(store):
    assert [store.add("count", 3), store.add("count", -5), store.get("count")] == [3, -2, b"-2"]
    store.append("log", "x")
    store.append("log", b"y")
    assert store.get("log") == b"xy"


def test_compare_set(store):
    assert store.compare_set("key", "other", "new") == b"other"
    assert not store.check(["key"])
    assert store.compare_set("key", "", "first") == b"first"
    assert store.compare_set("key", "other", "second") == b"first"
    assert store.compare_set("key", "first", "second") == b"second"


def test_delete(store):
    store.set("key", "value")
    assert store.delete_key("key") and not store.delete_key("key")
    assert not store.check(["key"])


def test_queues(store):
    store.queue_push("queue", "first")
    store.queue_push("queue", b"")
    assert store.queue_len("queue") == 2
    assert [store.queue_pop("queue"), store.queue_pop("queue")] == [b"first", b""]
    with pytest.raises(QueueEmptyError, match="queue is empty"):
        store.queue_pop("queue", block=False)
    store.set_timeout(SOON)
    with pytest.raises(QueueEmptyError, match="queue is empty"):
        store.queue_pop("queue")


def test_what_does_not_come_is_an_error(store):
    store.set("here", "1")
    with pytest.raises(DistStoreError, match="wait timeout after 50ms, keys: .*missing"):
        store.wait(["here", "missing"], SOON)
    store.set_timeout(SOON)
    with pytest.raises(DistStoreError, match="missing"):
        store.get("missing")
    store.set("missing", "now")
    assert store.get("missing") == b"now"


def test_get_waits_for_another_thread(store):
    other = store.clone()
    timer = threading.Timer(0.05, lambda: other.set("late", "1"))
    timer.start()
    assert store.get("late") == b"1"
    timer.join()


def test_a_part_has_its_own_keys():
    whole = HashStore()
    first, second = PrefixStore("first", whole), PrefixStore("second", whole)
    first.set("key", "1")
    assert whole.get("first/key") == b"1" and not second.check(["key"])
    assert PrefixStore("inner", first)._underlying_non_prefix_store is whole


def test_the_last_process_removes_the_file(tmp_path):
    path = tmp_path / "store"
    first, second = FileStore(str(path), 2), FileStore(str(path), 2)
    first.set("key", "1")
    assert second.get("key") == b"1" and path.stat().st_mode & 0o77 == 0
    del first
    assert path.exists()
    del second
    assert not path.exists()


def test_the_master_waits_for_all():
    with pytest.raises(DistStoreError, match="1 of 2 have joined"):
        TCPStore("127.0.0.1", 0, 2, True, SOON)


def test_a_port_is_taken_once():
    store = TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(DistNetworkError, match=f"cannot listen at port {store.port}.*in use"):
        TCPStore("127.0.0.1", store.port, is_master=True)


def test_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DistNetworkError, match="no store answers"):
        TCPStore("127.0.0.1", port, timeout=SOON)


def test_the_store_goes_with_its_holder():
    store = TCPStore("127.0.0.1", 0, is_master=True)
    other = TCPStore("127.0.0.1", store.port)
    del store
    with pytest.raises(DistNetworkError, match="is gone"):
        other.set("key", "1")


def test_strangers_get_nothing(monkeypatch):
    """Whoever does not know the secret is turned away, and harms nobody."""
    monkeypatch.setenv("FLAMBEAU_DISTRIBUTED_SECRET", "ours")
    store = TCPStore("127.0.0.1", 0, is_master=True)
    for noise in (b"", b"GET / HTTP/1.1\r\n\r\n" * 20, os.urandom(300)):
        with socket.create_connection(("127.0.0.1", store.port)) as stranger:
            stranger.sendall(noise)
            stranger.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while some := stranger.recv(4096):
                    received += some
            except ConnectionResetError:
                pass
            assert len(received) <= 55  # who we are, and a random number
    silent = [socket.create_connection(("127.0.0.1", store.port)) for _ in range(5)]
    store.set("key", "value")
    monkeypatch.setenv("FLAMBEAU_DISTRIBUTED_SECRET", "theirs")
    with pytest.raises(DistNetworkError, match="does not let us in"):
        TCPStore("127.0.0.1", store.port)
    monkeypatch.setenv("FLAMBEAU_DISTRIBUTED_SECRET", "ours")
    start = time.monotonic()
    assert TCPStore("127.0.0.1", store.port).get("key") == b"value"
    assert time.monotonic() - start < 5
    for each in silent:
        each.close()


def test_too_many_callers_do_not_end_the_store():
    """The system may have no descriptor left for a connection: there will be one later."""
    ours, theirs = socket.socketpair()
    welcomed = threading.Event()

    class Listening:
        answers = [OSError(errno.EMFILE, "too many open files"), (ours, None), OSError(errno.EBADF, "closed")]  # noqa: RUF012

        def accept(self):
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

    accept_all(Listening(), lambda connection: (connection.close(), welcomed.set()), "test")
    assert welcomed.wait(10) and theirs.recv(1) == b"" and Listening.answers == []
    theirs.close()


def test_only_this_machine_reaches_a_local_store():
    store = TCPStore("localhost", 0, is_master=True)
    assert store._server.socket.getsockname()[0] in ("127.0.0.1", "::1")
